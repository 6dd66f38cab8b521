//! `let`, `include` and the version line: schemas only; the interpreter itself understands them.

use crate::language::schema::Form;
use crate::statements::{Check, Statement};

pub const LET: Statement = Statement { form: &LET_FORM, check: Check::Language };
pub const INCLUDE: Statement = Statement { form: &INCLUDE_FORM, check: Check::Language };
pub const REPEAT: Statement = Statement { form: &REPEAT_FORM, check: Check::Language };
pub const VERSION: Statement = Statement { form: &VERSION_FORM, check: Check::Language };

const LET_FORM: Form = Form {
    name: "let",
    summary: "names a value",
    usage: "let NAME = value",
    details: "Numbers, quantities, texts and lists, with `+ - * /` and parentheses; `f\"…{name}…\"` puts values into a text.",
    example: "let width = 4 * 64",
    ..Form::LANGUAGE
};

const INCLUDE_FORM: Form = Form {
    name: "include",
    summary: "reads another script in this place",
    usage: "include \"file.ltune\"",
    details: "The path is relative to the script that includes it. A script that includes itself is an error.",
    example: "include \"models.ltune\"",
    ..Form::LANGUAGE
};

const REPEAT_FORM: Form = Form {
    name: "repeat",
    summary: "does its statements again and again",
    usage: "repeat COUNT { … }",
    details: "Everything is checked before the first round, as if it were written out. After the last round a table shows \
              where each run was at the end of each. An interrupt ends the round under way and those that would follow.",
    example: "repeat 3 { step a 2; eval a }",
    ..Form::LANGUAGE
};

const VERSION_FORM: Form = Form {
    name: "ltune",
    summary: "says which version of the language the script is written in; this is 1",
    usage: "ltune 1",
    details: "Stands first, if at all.",
    example: "ltune 1",
    ..Form::LANGUAGE
};
