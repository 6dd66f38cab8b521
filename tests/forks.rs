//! What a fork costs in memory, and that it is given back.

use crate::program::Folder;
use ltune::events::{Event, Out, Sink, Sources};
use ltune::interpreter::{Interpreter, Outcome, Unit};
use ltune::torch::memory::{resident, trim};
use std::sync::Arc;

struct Silent;

impl Sink for Silent {
    fn accept(&mut self, event: &Event, _sources: &Sources) {
        if let Event::Diagnostic(found) = event {
            assert!(!found.is_error(), "{found:?}");
        }
    }
}

fn run(interpreter: &mut Interpreter, text: &str) {
    let unit = Unit { name: "test".into(), text: text.into(), folder: "".into() };
    assert_eq!(interpreter.run(vec![unit]), Outcome::Done);
}

/// Resident bytes once what was freed has been given back.
fn settled() -> i64 {
    trim();
    resident().expect("the system tells") as i64
}

#[test]
fn a_fork_takes_one_adapter_state_and_a_drop_gives_it_back() {
    let folder = Folder::new();
    // Nextest gives every test a process of its own, so that the working directory is this test's alone.
    std::env::set_current_dir(folder.path()).expect("the folder is there");
    tch::set_num_threads(1);
    let mut interpreter = Interpreter::new(Out::new(Box::new(Silent)));
    run(
        &mut interpreter,
        "model m { init = random { layers = 4; width = 512; heads = 8; ffn = 2048; vocabulary = 8192 } }
         data r { from = random; rows = 8; length = 8 tokens; split = none }
         tune a { model = m; data = r; batch = 1 x 1; epochs = 9; method = lora { rank = 64 }; snapshots = none }
         step a 2",
    );
    let parent = &interpreter.session.runs["a"];
    let (base, state) = (parent.base.bytes() as i64, parent.trainer.bytes() as i64);
    assert!(state > 16 << 20 && base > 4 * (parent.trainer.trainables().bytes() as i64));
    let before = settled();
    run(&mut interpreter, "fork a as b");
    let runs = &interpreter.session.runs;
    assert!(Arc::ptr_eq(&runs["a"].base, &runs["b"].base), "the base is shared");
    assert_eq!(runs["b"].trainer.bytes() as i64, state, "weights and both moments of the adapters");
    let forked = settled() - before;
    assert!((forked - state).abs() < state / 8, "one state of {state} bytes, resident grew by {forked}");
    run(&mut interpreter, "step b 1\nstep a 1\ndrop b");
    let left = settled() - before;
    assert!(left < state / 8, "dropped, and {left} bytes stay");
}

#[test]
fn a_fork_shares_the_snapshots_of_the_common_past() {
    let folder = Folder::new();
    std::env::set_current_dir(folder.path()).expect("the folder is there");
    tch::set_num_threads(1);
    let mut interpreter = Interpreter::new(Out::new(Box::new(Silent)));
    run(
        &mut interpreter,
        "model m { init = random }
         data r { from = random; rows = 40; length = 8 tokens; split = none }
         tune a { model = m; data = r; batch = 1 x 1; lr = 1e-3 }
         step a 4
         fork a as b at 3
         step b 2",
    );
    let runs = &interpreter.session.runs;
    let snapshot = |run: &str, step: u64| {
        let places = runs[run].held.places().iter().find(|place| place.lineage.step() == step);
        places.map(|place| place.snapshot.clone()).expect("it is held")
    };
    for step in 0..=3 {
        assert!(std::rc::Rc::ptr_eq(&snapshot("a", step), &snapshot("b", step)), "step {step}");
    }
    assert!(!std::rc::Rc::ptr_eq(&snapshot("a", 4), &snapshot("b", 4)));
}
