//! The label mask of a chat: which bytes of the rendered text a model is to learn to write.

use crate::data::error::{DataError, Place};
use crate::data::specification::LossOn;
use crate::data::template::{ChatTemplate, Ending, Message};
use std::ops::Range;

/// A chat as text, and the ranges of it that are targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    pub text: String,
    pub targets: Vec<Range<usize>>,
}

/// Renders a chat whole, and its prefixes to find where each message begins and ends.
///
/// A template that writes a message differently once others follow has no such places: that is an error.
pub fn mask(
    template: &ChatTemplate,
    messages: &[Message],
    answers_from: usize,
    loss_on: &LossOn,
    place: &Place,
) -> Result<Masked, DataError> {
    let text = template.render(messages, Ending::Closed)?;
    if *loss_on == LossOn::All {
        let whole = 0..text.len();
        return Ok(Masked { targets: Vec::from([whole]), text });
    }
    let mut targets = vec![];
    for (index, message) in messages.iter().enumerate().skip(answers_from) {
        if !is_target(loss_on, &message.role) {
            continue;
        }
        let apart =
            || DataError::NoPrefix { place: place.clone(), message: index + 1, role: message.role.clone() };
        // The header of an answer is given to the model; a header of another role it would have to write itself.
        let ending = if message.role == "assistant" { Ending::AwaitsAnswer } else { Ending::Closed };
        let begin = match template.render(&messages[..index], ending) {
            Ok(prefix) if text.starts_with(&prefix) => prefix.len(),
            // Many templates refuse an empty chat; the first message is then found by its words.
            _ if index == 0 => text.find(message.content.trim()).ok_or_else(apart)?,
            _ => return Err(apart()),
        };
        let end = if index + 1 == messages.len() {
            text.len()
        } else {
            let prefix = template.render(&messages[..=index], Ending::Closed)?;
            if !text.starts_with(&prefix) {
                return Err(apart());
            }
            prefix.len()
        };
        targets.push(begin..end.max(begin));
    }
    Ok(Masked { text, targets })
}

/// Whether messages of this role are targets.
pub fn is_target(loss_on: &LossOn, role: &str) -> bool {
    match loss_on {
        LossOn::All => true,
        LossOn::Completion => role == "assistant",
        LossOn::Roles(roles) => roles.iter().any(|wanted| wanted == role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const CHATML: &str = "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '</>\n' }}{% endfor %}\
        {% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";

    fn targets(source: &str, loss_on: &LossOn, answers_from: usize) -> Result<Vec<String>, String> {
        let template = ChatTemplate::new(source, &BTreeMap::new()).expect("parses");
        let pairs = [("system", "s"), ("user", "u"), ("assistant", "a"), ("user", "v"), ("assistant", "b")];
        let messages: Vec<Message> =
            pairs.iter().map(|(role, content)| Message::new(*role, *content)).collect();
        let place = Place { file: "a.jsonl".into(), noun: "line", number: 1 };
        mask(&template, &messages, answers_from, loss_on, &place)
            .map(|masked| masked.targets.into_iter().map(|range| masked.text[range].to_string()).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_answer_is_a_target_and_its_header_is_not() {
        assert_eq!(targets(CHATML, &LossOn::Completion, 0), Ok(vec!["a</>\n".into(), "b</>\n".into()]));
        assert_eq!(targets(CHATML, &LossOn::Completion, 4), Ok(vec!["b</>\n".into()]));
    }

    #[test]
    fn other_roles_are_targets_on_request() {
        let roles = LossOn::Roles(vec!["user".into()]);
        assert_eq!(targets(CHATML, &roles, 0), Ok(vec!["<user>u</>\n".into(), "<user>v</>\n".into()]));
    }

    #[test]
    fn a_template_that_rewrites_the_past_is_refused() {
        let forgetful = "{% for m in messages %}{% if m.role != 'assistant' or loop.last %}{{ m.content }}|{% endif %}{% endfor %}";
        let error = targets(forgetful, &LossOn::Completion, 0).expect_err("rewrites");
        assert_eq!(
            error,
            "`a.jsonl` line 1: the chat template writes message 3 (`assistant`) differently once more messages follow, \
             so its tokens cannot be told apart; write `loss_on = all`, or choose another `template`"
        );
        assert_eq!(targets(forgetful, &LossOn::All, 0), Ok(vec!["s|u|v|b|".into()]));
    }
}
