//! The one table of diagnostic codes. A code never changes its meaning and is never used again for another one.
//!
//! `L00xx` lexical and syntax, `L01xx` names, settings and values, `L02xx` models, `L03xx` data, `L04xx` training,
//! `L05xx` files, runs and what happens while running.

/// A diagnostic code with what `ltune explain` says about it.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    pub code: &'static str,
    /// A few words: `unknown setting`.
    pub title: &'static str,
    /// Why it is an error and how to mend it; Markdown.
    pub explanation: &'static str,
    /// A short script that has it, then the mended one as a comment or a second statement.
    pub example: &'static str,
}

/// The entry of a code, written in either case.
pub fn find(code: &str) -> Option<&'static Code> {
    TABLE.iter().find(|entry| entry.code.eq_ignore_ascii_case(code))
}

pub const UNKNOWN_CHARACTER: &str = "L0001";
pub const UNCLOSED_TEXT: &str = "L0002";
pub const UNKNOWN_ESCAPE: &str = "L0003";
pub const UNREADABLE_NUMBER: &str = "L0004";
pub const UNCLOSED_BRACKET: &str = "L0005";
pub const UNOPENED_BRACKET: &str = "L0006";
pub const NESTED_TOO_DEEP: &str = "L0007";
pub const UNEXPECTED: &str = "L0010";
pub const MISSING_VALUE: &str = "L0011";
pub const MISSING_EQUALS: &str = "L0012";
pub const STRAY_COMMA: &str = "L0013";
pub const MISPLACED_BRACE: &str = "L0014";
pub const MISSING_NAME: &str = "L0015";
pub const MISPLACED_VERSION: &str = "L0016";
pub const COMMENT_SIGN: &str = "L0017";
pub const INTERPOLATION: &str = "L0018";
pub const MISSING_BLOCK: &str = "L0019";
pub const TOO_LONG: &str = "L0020";

pub const UNKNOWN_STATEMENT: &str = "L0101";
pub const UNKNOWN_SETTING: &str = "L0102";
pub const UNKNOWN_NAME: &str = "L0103";
pub const UNKNOWN_WORD: &str = "L0104";
pub const WRONG_NAME_KIND: &str = "L0105";
pub const WRONG_VALUE: &str = "L0106";
pub const WRONG_UNIT: &str = "L0107";
pub const MISSING_UNIT: &str = "L0108";
pub const UNKNOWN_UNIT: &str = "L0109";
pub const OUT_OF_RANGE: &str = "L0110";
pub const NOT_WHOLE: &str = "L0111";
pub const MISSING_SETTING: &str = "L0112";
pub const GIVEN_TWICE: &str = "L0113";
pub const AMBIGUOUS_NAME: &str = "L0114";
pub const SETTING_OF_ANOTHER: &str = "L0115";
pub const NOT_SWEEPABLE: &str = "L0116";
pub const BAD_SWEEP: &str = "L0117";
pub const BAD_SPLIT: &str = "L0118";
pub const UNQUOTED: &str = "L0119";
pub const UNKNOWN_FUNCTION: &str = "L0120";
pub const WRONG_ARGUMENTS: &str = "L0121";
pub const BAD_ARITHMETIC: &str = "L0122";
pub const UNKNOWN_CLAUSE: &str = "L0123";
pub const TOO_MANY_VALUES: &str = "L0124";
pub const NO_RUN: &str = "L0125";
pub const UNKNOWN_PART: &str = "L0126";
pub const NO_SETTINGS: &str = "L0127";
pub const WRONG_LENGTH: &str = "L0128";
pub const UNUSABLE_NAME: &str = "L0129";

/// Every code of the tool, in order.
pub const TABLE: &[Code] = &[];
