//! Text that was copied from a session together with its prompts becomes input again.

use crate::language::complete::{Completeness, complete};
use std::borrow::Cow;

/// The cells of a transcript without their prompts and without what they printed; other text as it is.
pub fn without_prompts(text: &str) -> Cow<'_, str> {
    if !text.lines().any(|line| after_prompt(line).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut cells: Vec<String> = vec![];
    let mut in_cell = false;
    for line in text.lines() {
        if let Some(first) = after_prompt(line) {
            cells.push(first.to_string());
            in_cell = true;
        } else if let Some(cell) = cells.last_mut().filter(|_| in_cell) {
            // A line belongs to a cell as long as that is not whole; what comes then is what it printed.
            match complete(cell) {
                Completeness::Incomplete { .. } => {
                    cell.push('\n');
                    cell.push_str(line);
                }
                _ => in_cell = false,
            }
        }
    }
    Cow::Owned(cells.join("\n"))
}

/// What stands behind `In [3]: `.
fn after_prompt(line: &str) -> Option<&str> {
    let (number, rest) = line.trim_start().strip_prefix("In [")?.split_once("]:")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_and_what_was_printed_are_taken_away() {
        let pasted = "In [3]: tune a {\n  lr = 1e-4\n}\na: lora r 16\n\nIn [4]: step a 2\nstep 1/2  loss 5.7\n\nIn [5]: 2 + 3\nOut[5]: 5\n";
        assert_eq!(without_prompts(pasted), "tune a {\n  lr = 1e-4\n}\nstep a 2\n2 + 3");
        assert_eq!(without_prompts("In [12]: step a 2"), "step a 2");
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in ["step a 2", "print \"In [\"", "In [x]: y", ""] {
            assert_eq!(without_prompts(text), text);
        }
    }
}
