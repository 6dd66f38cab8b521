//! What must hold for any text: the parser never panics, the formatter keeps meaning and comments, values survive the
//! way to text and back. And how long a long script takes.

use crate::events::SourceId;
use crate::language::blocks::fixed_value;
use crate::language::check::{check_definition, check_verb, parse_setting};
use crate::language::complete::complete;
use crate::language::format::format;
use crate::language::lexer::{TokenKind, tokens};
use crate::language::parse::{parse, parse_expression};
use crate::language::sample::{FORMS, SampleScope, TUNE};
use crate::language::schema::{Bounds, Kind, Setting};
use crate::language::tree::{Script, StatementKind};
use crate::language::value::{Value, quoted};
use crate::units::Unit;
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::Config;

const SCRIPT: &str = r#"ltune 1
# a comment
model base { from = "smollm2-135m"; dtype = bf16 }   # another
data chat {
  from    = "dolly.jsonl"
  split   = 90% / 5% / 5%
  columns = { prompt = question }

  # packing
  packing = on
}
tune a {
  model = base; data = chat.train
  method = lora { rank = 8..64 step 8; alpha = 32 }
  lr = log(1e-6 .. 1e-3, 7)
  schedule = cosine { warmup = 3% }  # three
  batch = 4 x 4
}
let n = 4 * (1024 + -1) / 3
let p = [user("hi"), assistant(f"n is {n} {{b}}"), system("""
  long
text"""), user(r"C:\x")]
step a 20; undo a 5 steps
repeat 3 { step a (n + 1) }
plot loss,   # metrics
  lr of a, b to "loss.svg" { smooth = 0.9 }
run a until eval.loss < 1.8
fork a as b at 40 { lr = 5e-5 }
"#;

/// The tree without its spans.
fn shape(script: &Script) -> String {
    let mut text = format!("{script:?}");
    while let Some(start) = text.find("Span {") {
        let end = text[start..].find('}').map_or(text.len(), |end| start + end + 1);
        text.replace_range(start..end, "_");
    }
    text
}

fn comments(text: &str) -> Vec<String> {
    let squeezed = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect();
    tokens(text)
        .iter()
        .filter(|token| token.kind == TokenKind::Comment)
        .map(|token| squeezed(token.text(text)))
        .collect()
}

/// Everything a text can be asked, none of which may panic.
fn ask(text: &str) {
    let parsed = parse(text, SourceId(0));
    for diagnostic in &parsed.diagnostics {
        let places = diagnostic
            .labels
            .iter()
            .map(|label| label.span)
            .chain(diagnostic.fixes.iter().map(|fix| fix.span));
        for span in places {
            assert!(text.get(span.range()).is_some(), "{span:?} of {diagnostic:?} is no place in {text:?}");
        }
    }
    let _ = complete(text);
    let mut diagnostics = vec![];
    for statement in &parsed.script.statements {
        for form in FORMS {
            match &statement.kind {
                StatementKind::Definition { name, block, .. } => {
                    check_definition(form, name, block, &SampleScope, &mut diagnostics);
                }
                StatementKind::Verb(verb) => {
                    check_verb(form, verb, &SampleScope, &mut diagnostics);
                }
                _ => {}
            }
        }
    }
    let Ok(formatted) = format(text) else { return };
    assert_eq!(format(&formatted).as_ref(), Ok(&formatted), "formatting twice changes {text:?}");
    assert_eq!(comments(text).len(), comments(&formatted).len(), "a comment is lost in {text:?}");
    let again = parse(&formatted, SourceId(0));
    assert_eq!(shape(&without_comments(parsed.script)), shape(&without_comments(again.script)), "{text:?}");
}

/// The formatter puts one space after `#`, so comments are compared apart.
fn without_comments(mut script: Script) -> Script {
    script.dangling.clear();
    for statement in &mut script.statements {
        clear_comments(statement);
    }
    script
}

fn clear_comments(statement: &mut crate::language::tree::Statement) {
    statement.leading.clear();
    statement.trailing = None;
    match &mut statement.kind {
        StatementKind::Definition { block, .. } => clear_block(block),
        StatementKind::Verb(verb) => verb.block.iter_mut().for_each(clear_block),
        StatementKind::Repeat { body, dangling, .. } => {
            body.iter_mut().for_each(clear_comments);
            dangling.clear();
        }
        _ => {}
    }
}

fn clear_block(block: &mut crate::language::tree::Block) {
    block.dangling.clear();
    for entry in &mut block.entries {
        entry.leading.clear();
        entry.trailing = None;
        match &mut entry.value.kind {
            crate::language::tree::ExprKind::Choice { block, .. }
            | crate::language::tree::ExprKind::Block(block) => {
                clear_block(block);
            }
            _ => {}
        }
    }
}

#[test]
fn the_formatter_keeps_comments_and_meaning_of_a_real_script() {
    ask(SCRIPT);
    assert!(!parse(SCRIPT, SourceId(0)).has_errors());
    assert_eq!(comments(SCRIPT), comments(&format(SCRIPT).expect("no error")));
}

/// Pieces of the language in any order are far more often nearly right than arbitrary text.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "tune",
        "a",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "=",
        "lr",
        "1e-4",
        ",",
        ";",
        "\n",
        " ",
        "step",
        "x",
        "4",
        "..",
        "5%",
        "/",
        "-",
        "+",
        "*",
        "\"t\"",
        "f\"{a}\"",
        "f\"{",
        "r\"\\\"",
        "\"\"\"",
        "\"",
        "# c",
        "of",
        "to",
        "on",
        "log(",
        "one_of(",
        "let",
        "repeat",
        "include",
        "model",
        "data",
        "method",
        "lora",
        "rank",
        "<",
        "==",
        ":",
        "'",
        "é",
        "\u{1F600}",
        "\r\n",
        "\t",
        "2GiB",
        "512 tokens",
        "chat.test",
        "//",
        "\\",
        ".",
        "until",
        "step 8",
        "ltune 1",
        "{\n",
        "\n}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.join(" ").replace(" \n ", "\n"))
}

/// A good script with a few places cut, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        0usize..12,
        prop::sample::select(vec!["", "{", "}", "(", "\"", "\n", "=", ",", "x", "#", "\\", ";"]),
    );
    prop::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut characters: Vec<char> = SCRIPT.chars().collect();
        for (index, length, replacement) in edits {
            let start = index.index(characters.len());
            let end = (start + length).min(characters.len());
            characters.splice(start..end, replacement.chars());
            characters.push('\n');
        }
        characters.into_iter().collect()
    })
}

/// A good script with other blanks between its words, where there are some.
fn respaced() -> impl Strategy<Value = String> {
    prop::collection::vec(1usize..5, 1..40).prop_map(|widths| {
        let mut widths = widths.into_iter().cycle();
        let mut text = String::new();
        let mut end = 0;
        for token in tokens(SCRIPT) {
            let blanks = token.range.start - end;
            text.push_str(&" ".repeat(if blanks > 0 { widths.next().unwrap_or(1) } else { 0 }));
            text.push_str(token.text(SCRIPT));
            end = token.range.end;
        }
        text
    })
}

/// A kind with a value that fits it.
fn fitting() -> impl Strategy<Value = (Kind, Value)> {
    let number = any::<f64>().prop_filter("finite", |number| number.is_finite());
    let count = 0.0f64..1e12;
    prop_oneof![
        any::<i64>().prop_filter("its digits fit", |number| *number != i64::MIN).prop_map(|number| (
            Kind::Integer { min: i64::MIN, max: i64::MAX, unit: None },
            Value::Integer(number)
        )),
        number.prop_map(|number| (Kind::Number(Bounds::ANY), Value::Number(number))),
        (0.0f64..=1.0).prop_map(|number| (Kind::Fraction, Value::Number(number))),
        (
            count,
            prop::sample::select(vec![Unit::Steps, Unit::Epochs, Unit::Bytes, Unit::Seconds, Unit::Tokens])
        )
            .prop_map(|(number, unit)| {
                let number =
                    if matches!(unit, Unit::Epochs | Unit::Seconds) { number } else { number.trunc() };
                (ANY_MEASURE, Value::Measure { number, unit })
            }),
        (0.0f64..=100.0).prop_map(|number| (ANY_MEASURE, Value::Measure { number, unit: Unit::Percent })),
        any::<String>().prop_map(|text| (Kind::Text, Value::Text(text))),
        any::<bool>().prop_map(|flag| (Kind::Bool, Value::Bool(flag))),
        Just((Kind::AnyOf(&[Kind::None, Kind::Bool]), Value::None)),
        (1i64.., 1i64..).prop_map(|(micro, accumulate)| (Kind::Batch, Value::Batch { micro, accumulate })),
        (1u32..99).prop_map(|share| {
            let share = f64::from(share);
            (Kind::Split, Value::Split(vec![share / 100.0, (100.0 - share) / 100.0]))
        }),
        (0i64..1000, 0i64..1000, 1i64..10)
            .prop_map(|(start, more, step)| (Kind::Range, Value::Range { start, end: start + more, step })),
        prop::collection::vec(("system|user|assistant", any::<String>()), 1..4)
            .prop_map(|chat| (Kind::Prompt, Value::Chat(chat))),
        prop::collection::vec(any::<i32>(), 1..5).prop_map(|numbers| {
            let items = numbers.into_iter().map(|number| Value::Number(f64::from(number))).collect();
            (Kind::list(&Kind::Number(Bounds::ANY)), Value::List(items))
        }),
        prop::collection::vec(("[a-z]{1,8}", any::<String>()), 1..4)
            .prop_map(|columns| (Kind::Columns, Value::Columns(columns))),
    ]
}

const ANY_MEASURE: Kind = Kind::Measure {
    units: &[Unit::Steps, Unit::Epochs, Unit::Bytes, Unit::Seconds, Unit::Tokens, Unit::Percent],
    bare: None,
    bounds: Bounds::NON_NEGATIVE,
};

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn arbitrary_text_is_never_too_much(text in any::<String>()) {
        ask(&text);
    }

    #[test]
    fn words_of_the_language_in_any_order_are_never_too_much(text in soup()) {
        ask(&text);
    }

    #[test]
    fn a_mutated_script_is_never_too_much(text in mutated()) {
        ask(&text);
    }

    #[test]
    fn blanks_between_words_do_not_matter_to_the_formatter(text in respaced()) {
        prop_assert_eq!(format(&text), format(SCRIPT));
    }

    #[test]
    fn values_survive_the_way_to_text_and_back((kind, value) in fitting()) {
        let setting = Setting::new("x", kind, "a test");
        let text = value.to_ltune();
        let read = fixed_value(&setting, &text);
        prop_assert!(read.is_ok(), "{text}: {read:?}");
        prop_assert_eq!(read.ok(), Some(value), "{}", text);
    }

    #[test]
    fn texts_survive_their_quotes(text in any::<String>()) {
        let expr = parse_expression(&quoted(&text), SourceId(0)).expect("a quoted text");
        prop_assert_eq!(expr.kind, crate::language::tree::ExprKind::Text(text));
    }

    #[test]
    fn a_setting_of_the_command_line_is_never_too_much(text in any::<String>()) {
        for setting in TUNE.settings {
            let _ = parse_setting(&TUNE, setting.name, &text, SourceId(0), &SampleScope);
        }
    }
}

#[test]
fn settings_of_choices_survive_the_way_to_text_and_back() {
    let method = TUNE.setting("method").expect("the sample has it");
    let value = fixed_value(method, "lora { rank = one_of(8, 16); alpha = 4; targets = [\"q_proj\"] }")
        .expect("it fits");
    let again = fixed_value(method, &value.to_ltune()).expect("it fits again");
    assert_eq!(value, again);
}

/// Measured, not asserted: the time of a long script and of one ten times as long.
#[test]
fn a_long_script_is_checked_in_linear_time() {
    let checked = |lines: usize| {
        let mut text = String::new();
        for index in 0..lines / 10 {
            text.push_str(&format!(
                "tune t{index} {{\n  model = base\n  data = chat\n  method = lora {{ rank = 16; alpha = 32 }}\n  lr = 2e-4 # lr\n  \
                 schedule = cosine {{ warmup = 3% }}\n  batch = 4 x 4\n}}\nstep a 20\nplot loss, lr of a, b to \"x.svg\"\n"
            ));
        }
        let start = std::time::Instant::now();
        let parsed = parse(&text, SourceId(0));
        let read = start.elapsed();
        let mut diagnostics = parsed.diagnostics;
        for statement in &parsed.script.statements {
            match &statement.kind {
                StatementKind::Definition { name, block, .. } => {
                    check_definition(&TUNE, name, block, &SampleScope, &mut diagnostics);
                }
                StatementKind::Verb(verb) => {
                    let form = FORMS.iter().find(|form| form.name == verb.word.node).expect("a known verb");
                    check_verb(form, verb, &SampleScope, &mut diagnostics);
                }
                other => panic!("not in this script: {other:?}"),
            }
        }
        let checked = start.elapsed();
        let _ = format(&text);
        (diagnostics.len(), read, checked, start.elapsed())
    };
    for lines in [1_000, 10_000] {
        let (mistakes, read, checked, formatted) = checked(lines);
        assert_eq!(mistakes, 0);
        eprintln!("{lines} lines: read in {read:?}, checked in {checked:?}, formatted in {formatted:?}");
    }
}
