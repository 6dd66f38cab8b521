// What stands before a block when it is compiled, in a module `ltune` beside those of `row.rs` and `answer.rs`: the types
// that its functions take, and the loop that answers requests. It is read as text and stands on the standard library alone.

pub use answer::Answer;
pub use row::Row;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

/// Where a run is when a schedule is asked for the share of `lr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The optimizer step that is about to be taken, from 1.
    pub step: u64,
    /// The planned last step.
    pub planned_steps: u64,
    pub steps_per_epoch: u64,
}

pub enum Function {
    Schedule(fn(Moment) -> f64),
    Metric(fn(&Answer) -> f64),
    Transform(fn(Row) -> Option<Row>),
}

/// The message of the last panic and its line in the file.
static PANIC: Mutex<(String, u64)> = Mutex::new((String::new(), 0));

/// Answers requests until the socket is closed. `first_line` is the line of the file that the block begins on; `end` is
/// printed before each answer.
pub fn serve(socket: &str, end: &str, first_line: u32, functions: &[Function]) {
    std::thread::spawn(end_with_parent);
    std::panic::set_hook(Box::new(note_panic));
    let mut stream = UnixStream::connect(socket).expect("ltune listens");
    while let Some(request) = receive(&mut stream) {
        let answer = answer(&request, u64::from(first_line), functions);
        println!("{end}");
        let length = (answer.len() as u64).to_le_bytes();
        if stream.write_all(&length).and_then(|()| stream.write_all(&answer)).is_err() {
            return;
        }
    }
}

/// A function that never ends would outlive a program that was killed.
fn end_with_parent() {
    let parent = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == parent {
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    std::process::exit(0);
}

fn note_panic(panic: &std::panic::PanicHookInfo) {
    let text = panic.payload().downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| panic.payload().downcast_ref::<String>().cloned()).unwrap_or_default();
    let here = panic.location().filter(|place| place.file().ends_with("src/lib.rs"));
    *PANIC.lock().unwrap_or_else(|broken| broken.into_inner()) =
        (text, here.map_or(0, |place| u64::from(place.line())));
}

fn receive(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 8];
    stream.read_exact(&mut length).ok()?;
    let mut request = vec![0; u64::from_le_bytes(length) as usize];
    stream.read_exact(&mut request).ok()?;
    Some(request)
}

/// Which function, then what it is given, until the request ends; for each of it 0 and the value, or 1 and the panic, after
/// which nothing more is done.
fn answer(mut request: &[u8], first_line: u64, functions: &[Function]) -> Vec<u8> {
    let mut answer = vec![];
    let bytes = &mut request;
    let Some(function) = row::read_number(bytes).and_then(|index| functions.get(index as usize)) else {
        return answer;
    };
    while !bytes.is_empty() {
        let mut value = vec![];
        let given = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| one(function, bytes, &mut value)));
        match given {
            Ok(Some(())) => {
                row::write_number(&mut answer, 0);
                answer.extend(value);
            }
            Ok(None) => return answer,
            Err(_) => {
                let (message, line) = PANIC.lock().unwrap_or_else(|broken| broken.into_inner()).clone();
                row::write_number(&mut answer, 1);
                row::write_text(&mut answer, &message);
                row::write_number(&mut answer, if line < first_line { 0 } else { line - first_line + 1 });
                return answer;
            }
        }
    }
    answer
}

fn one(function: &Function, bytes: &mut &[u8], value: &mut Vec<u8>) -> Option<()> {
    match function {
        Function::Schedule(function) => {
            let mut number = || row::read_number(bytes);
            let moment = Moment { step: number()?, planned_steps: number()?, steps_per_epoch: number()? };
            row::write_number(value, function(moment).to_bits());
        }
        Function::Metric(function) => {
            let example = row::read_number(bytes)? as usize;
            let answer = Answer { example, wanted: row::read_text(bytes)?, written: row::read_text(bytes)? };
            row::write_number(value, function(&answer).to_bits());
        }
        Function::Transform(function) => match function(Row::read(bytes)?) {
            None => row::write_number(value, 0),
            Some(row) => {
                row::write_number(value, 1);
                row.write(value);
            }
        },
    }
    Some(())
}
