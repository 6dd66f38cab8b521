//! `ltune::Session` as a Rust program uses it. What it says to a terminal and to a notebook is tested where that is drawn.

use ltune::events::{Event, Step};
use ltune::units::Unit;
use ltune::{Answer, Data, Model, Moment, Row, Session, Tune, choice, measure, word};
use std::ops::ControlFlow;

const Q_PROJ: &str = "model.layers.0.self_attn.q_proj";

const DEFINITIONS: &str = r#"
model base { init = random { preset = tiny } }
data rows { from = random; rows = 40; length = 16 tokens; split = 80% / 20% }
tune a { model = base; data = rows; batch = 4 x 1; lr = 1e-2; method = lora { rank = 4 }; epochs = 4 }
"#;

/// A silent session in a folder of its own. Tests run each in a process of its own.
struct Alone {
    session: Session,
    _folder: tempfile::TempDir,
}

impl Alone {
    fn new() -> Alone {
        let folder = tempfile::tempdir().unwrap();
        std::env::set_current_dir(&folder).unwrap();
        Alone { session: Session::silent().unwrap(), _folder: folder }
    }

    fn with(text: &str) -> Alone {
        let mut alone = Alone::new();
        alone.session.run(&format!("{DEFINITIONS}{text}")).unwrap();
        alone
    }
}

fn on(_: &Step) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn numbers_and_weights_come_out_as_plain_values() {
    let mut alone = Alone::with("");
    let s = &mut alone.session;
    assert_eq!(s.metrics("a").unwrap().loss, [] as [f64; 0]);
    let weight = format!("{Q_PROJ}.weight");
    let before = s.weight("a", &weight).unwrap();
    let shown = s.run("step a 3\neval a on rows.validation").unwrap();
    let metrics = s.metrics("a").unwrap();
    assert_eq!(metrics.loss, shown.steps().map(|step| step.loss).collect::<Vec<_>>());
    assert_eq!(metrics.step, [1, 2, 3]);
    assert_eq!(metrics.evaluations.len(), 1);
    assert_eq!(shown.evaluations().next(), metrics.evaluations.first());

    // With lora the weight is the base's; adapter and merged weight are what moved.
    assert!(before.equal(&s.weight("a", &weight).unwrap()));
    assert!(before.equal(&s.weight("base", &weight).unwrap()));
    let (a, b) = (format!("{Q_PROJ}.lora_A.weight"), format!("{Q_PROJ}.lora_B.weight"));
    let (a_rd, b_dr) = (s.weight("a", &a).unwrap(), s.weight("a", &b).unwrap());
    assert_eq!((a_rd.size(), b_dr.size()), (vec![4, 64], vec![64, 4]));
    let merged = s.merged_weight("a", &weight).unwrap();
    let product = b_dr.matmul(&a_rd) * 2.0; // alpha / rank
    assert!((&merged - (&before + product)).abs().max().double_value(&[]) < 1e-6);
    assert!(s.weight_names("a").unwrap().contains(&a) && !s.weight_names("base").unwrap().contains(&a));
}

#[test]
fn a_weight_is_a_copy() {
    let mut alone = Alone::with("");
    let s = &mut alone.session;
    let name = "model.norm.weight";
    let _ = s.weight("base", name).unwrap().fill_(7.0);
    assert_ne!(s.weight("base", name).unwrap().double_value(&[0]), 7.0);
}

#[test]
fn what_is_not_there_says_what_is() {
    let mut alone = Alone::with("");
    let s = &mut alone.session;
    let error = s.metrics("b").unwrap_err().to_string();
    assert!(error.contains("`b` is not the name of a run") && error.contains("`a`"), "{error}");
    let error = s.weight("base", "model.layers.0.self_attn.qproj.weight").unwrap_err().to_string();
    assert!(error.contains(&format!("write `{Q_PROJ}.weight`")), "{error}");
    let error = s.weight("a", "lm").unwrap_err().to_string();
    assert!(error.contains("`weight_names` lists them"), "{error}");
}

#[test]
fn a_text_that_fails_leaves_the_session_whole() {
    let mut alone = Alone::with("step a 2");
    let s = &mut alone.session;
    let error = s.run("step a 2\nstepp a").unwrap_err();
    assert_eq!((error.code(), error.diagnostics().len()), ("L0101", 1));
    assert!(
        error.to_string().contains("run 2:2:1") && format!("{error:?}").contains("write `step`"),
        "{error}"
    );
    assert_eq!(s.metrics("a").unwrap().loss.len(), 2);
    assert!(s.run("plot perplexity of a").is_err());
    s.run("step a").unwrap();
    assert_eq!(s.metrics("a").unwrap().loss.len(), 3);
    assert_eq!(format!("{s:?}"), "Session {base: a model, rows: a data set, a: a run at step 3}");
}

#[test]
fn a_definition_of_rust_values_is_that_of_the_language() {
    let mut alone = Alone::with("step a 3");
    let s = &mut alone.session;
    let base = Model::named("base2").with("init", choice("random").with("preset", word("tiny")));
    let rows = Data::named("rows2")
        .with("from", word("random"))
        .with("rows", 40)
        .with("length", measure(16, Unit::Tokens))
        .with("split", vec![0.8, 0.2]);
    // A split is no list: the schema says so, and nothing is bound.
    let error = s.define(&rows).unwrap_err();
    assert!(error.to_string().contains("shares such as"), "{error}");
    let rows = Data::named("rows2").with("from", word("random")).with("rows", 40).with("length", 16);
    let rows = rows.with("split", ltune::language::value::Value::Split(vec![0.8, 0.2]));
    let tune = Tune::named("b")
        .with("model", &base)
        .with("data", &rows)
        .with("batch", (4, 1))
        .with("lr", 1e-2)
        .with("method", choice("lora").with("rank", 4))
        .with("epochs", measure(4, Unit::Epochs));
    for definition in [&base, &rows, &tune] {
        s.define(definition).unwrap();
    }
    s.step("b", 3, on).unwrap();
    assert_eq!(s.metrics("a").unwrap().loss, s.metrics("b").unwrap().loss);
    let error = s.define(&tune.with("rnak", 4)).unwrap_err();
    assert!(error.to_string().contains("write `rank`") || error.code() == "L0102", "{error}");
}

#[test]
fn a_callback_sees_each_step_and_may_say_stop() {
    let mut alone = Alone::with("");
    let s = &mut alone.session;
    let until = |step: &Step| if step.step == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    assert_eq!(s.step("a", 20, until).unwrap().len(), 4);
    assert_eq!(s.step("a", 2, on).unwrap().last().unwrap().step, 6);
    s.run("journal to \"j.ltune\"").unwrap();
    let journal = std::fs::read_to_string("j.ltune").unwrap();
    assert!(journal.contains("step a 4") && journal.contains("step a 2"), "{journal}");
    let error = s.step("a", 5, |_| panic!("oh")).unwrap_err();
    assert_eq!(error.code(), "L0601");
    assert!(error.to_string().contains("panicked at step 7"), "{error}");
    assert_eq!(s.metrics("a").unwrap().step.len(), 7);
    s.step("a", 1, on).unwrap();
}

#[test]
fn a_schedule_of_ones_own_is_exact_and_its_mistakes_are_told() {
    let mut alone = Alone::with("");
    let s = &mut alone.session;
    s.own_schedule("saw", Box::new(|at: Moment| (at.step % 3 + 1) as f64 / at.planned_steps as f64)).unwrap();
    s.run("tune c { model = base; data = rows; batch = 4 x 1; lr = 1e-2; steps = 10; schedule = saw }\nstep c 6")
        .unwrap();
    let first = s.metrics("c").unwrap();
    assert_eq!(first.lr[..3], [2e-3, 3e-3, 1e-3]);
    s.run("undo c 4 steps\nstep c 4\nfork c as d\nshow c").unwrap();
    assert_eq!(s.metrics("c").unwrap().loss, first.loss);
    // It rescales with `lr`, and another cannot take its place on a run that has begun.
    s.run("set c { lr = 2e-2 }\nstep c").unwrap();
    assert_eq!(s.metrics("c").unwrap().lr[6], 4e-3);
    let error = s.own_schedule("saw", Box::new(|_| 1.0)).unwrap_err();
    assert!(error.to_string().contains("`drop c` first"), "{error}");
    s.own_schedule("bad", Box::new(|at: Moment| if at.step > 8 { f64::NAN } else { 1.0 })).unwrap();
    let error = s.run("set c { schedule = bad }\nstep c 5").unwrap_err();
    assert!(error.to_string().contains("the schedule `bad` gave NaN for step 9"), "{error}");
    assert_eq!(s.metrics("c").unwrap().step.len(), 8);
    assert_eq!(s.own_schedule("a", Box::new(|_| 1.0)).unwrap_err().code(), "L0143");
    assert_eq!(s.own_schedule("two words", Box::new(|_| 1.0)).unwrap_err().code(), "L0129");
    assert!(s.run("tune e { model = base; data = rows; schedule = nothing }").is_err());
}

#[test]
fn a_checkpoint_goes_on_by_the_schedule_that_the_program_adds_again() {
    let mut alone = Alone::with("");
    let tune = "tune c { model = base; data = rows; batch = 4 x 1; steps = 9; schedule = half; save_every = 2 steps }";
    let half = || Box::new(|at: Moment| 0.5f64.powi(at.step as i32));
    let s = &mut alone.session;
    s.own_schedule("half", half()).unwrap();
    s.run(&format!("{tune}\nstep c 4")).unwrap();
    let mut again = Session::silent().unwrap();
    again.own_schedule("half", half()).unwrap();
    s.run("drop c").unwrap();
    again.run(&format!("{DEFINITIONS}{tune}\nload c from \"runs/c\"\nstep c 1")).unwrap();
    assert_eq!(again.metrics("c").unwrap().lr[4], 2e-4 * 0.5f64.powi(5));
}

#[test]
fn a_metric_of_ones_own_is_measured_and_drawn() {
    let mut alone = Alone::new();
    let s = &mut alone.session;
    let row = |n: usize| format!("{{\"prompt\": \"{n}?\", \"completion\": \"yes\"}}\n");
    std::fs::write("q.jsonl", (0..6).map(row).collect::<String>()).unwrap();
    s.own_metric("brevity", Box::new(|answer: &Answer| 1.0 / (1.0 + answer.written.len() as f64))).unwrap();
    s.run(
        "model base { init = random { preset = tiny }; tokenizer = bytes }\n\
         data q { from = \"q.jsonl\"; split = none }\n\
         tune a { model = base; data = q; batch = 2 x 1 }\nstep a 1\neval a on q { metrics = [loss, brevity] }",
    )
    .unwrap();
    let metrics = s.metrics("a").unwrap();
    let brevity = metrics.evaluations[0].metrics["brevity"];
    assert!(brevity > 0.0 && brevity <= 1.0, "{brevity}");
    let shown = s.plot("brevity of a").unwrap();
    assert_eq!(shown.figures().next().unwrap().panels[0].series[0].points, [(1.0, brevity)]);
    let shown = s.run("compare base, a on q { metrics = [loss, brevity] }").unwrap();
    let table = shown.tables().next().unwrap();
    assert!(!table.rows[0].join(" ").contains('%'), "{table:?}");
    s.own_metric("broken", Box::new(|_| f64::INFINITY)).unwrap();
    let error = s.run("eval a on q { metrics = [broken] }").unwrap_err();
    assert_eq!(error.code(), "L0601");
    assert!(error.to_string().contains("gave inf for q.jsonl:1"), "{error}");
}

#[test]
fn a_value_at_the_end_is_shown_and_progress_is_not_kept() {
    let mut alone = Alone::with("step a 2");
    let shown = alone.session.run("let n = 6\nn * 7").unwrap();
    assert!(matches!(&shown.events[..], [Event::Value { text, .. }] if text == "42"), "{shown:?}");
}

#[test]
fn a_row_transform_of_ones_own_changes_and_leaves_out_rows() {
    let mut alone = Alone::new();
    let s = &mut alone.session;
    let row = |n: usize| format!("{{\"q\": \"{n}?\", \"a\": \"yes {n}\"}}\n");
    std::fs::write("q.jsonl", (0..6).map(row).collect::<String>()).unwrap();
    let clean = |mut row: Row| {
        row.rename("q", "prompt");
        row.rename("a", "completion");
        (row.get("prompt") != "3?").then_some(row)
    };
    s.own_transform("clean", Box::new(clean)).unwrap();
    let definitions = "model base { init = random { preset = tiny }; tokenizer = bytes }\n\
                       data q { from = \"q.jsonl\"; split = none; transform = clean }\n\
                       tune a { model = base; data = q; batch = 5 x 1; steps = 4 }\nstep a 2";
    let shown = s.run(definitions).unwrap();
    let notes = format!("{:?}", shown.events);
    assert!(notes.contains("5 examples") && notes.contains("1 left out by the transform"), "{notes}");
    let loss = s.metrics("a").unwrap().loss[1];
    // Another function by the name gives other rows; the run keeps those it began with.
    s.own_transform("clean", Box::new(|_| None)).unwrap();
    let error = s.run("tune b { model = base; data = q; batch = 5 x 1 }\nstep b").unwrap_err();
    assert!(error.to_string().contains("6 left out by the transform"), "{error}");
    s.own_transform(
        "clean",
        Box::new(|row: Row| if row.get("q") == "2?" { panic!("not two") } else { Some(row) }),
    )
    .unwrap();
    let error = s.run("step b").unwrap_err();
    assert_eq!(error.code(), "L0601");
    let told = "the row transform `clean` failed at `q.jsonl` line 3: it panicked: not two";
    assert!(error.to_string().contains(told), "{error}");
    s.own_transform("clean", Box::new(clean)).unwrap();
    s.run("step b 2\nstep a").unwrap();
    assert_eq!((s.metrics("b").unwrap().loss[1], s.metrics("a").unwrap().loss.len()), (loss, 3));
    assert_eq!(s.own_metric("clean", Box::new(|_| 1.0)).unwrap_err().code(), "L0143");
}

#[test]
fn a_rust_block_in_a_rust_program_says_what_takes_its_place() {
    let mut alone = Alone::new();
    let error = alone.session.run("rust { fn warm(at: Moment) -> f64 { 1.0 } }").unwrap_err();
    assert_eq!(error.code(), "L0605");
    let way =
        if cfg!(feature = "rust-cells") { "add a closure: `own_schedule`" } else { "--features rust-cells" };
    assert!(error.to_string().contains(way), "{error}");
}
