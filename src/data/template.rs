//! Chat templates: the Jinja that turns messages into the text a chat model was trained on.

use crate::data::error::DataError;
use crate::data::template_functions::add_functions;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One turn of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into() }
    }
}

/// Whether the text ends with the header of the answer that a model is to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Closed,
    AwaitsAnswer,
}

/// The texts of a tokenizer's special tokens, as templates name them: `bos_token`, `eos_token` …
pub type TokenTexts = BTreeMap<String, String>;

/// Templates known by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    (
        "chatml",
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ),
    (
        "llama3",
        "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}\
         {% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
    ),
    (
        "alpaca",
        "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}\
         {% elif message['role'] == 'user' %}{{ '### Instruction:\n' + message['content'] + '\n\n' }}\
         {% else %}{{ '### Response:\n' + message['content'] }}{{ eos_token }}{{ '\n\n' }}{% endif %}{% endfor %}\
         {% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}",
    ),
];

const NAME: &str = "chat";

/// A parsed template. Rendering is a pure function: the same messages give the same text on any day.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: Arc<str>,
    environment: Arc<Environment<'static>>,
}

impl ChatTemplate {
    /// Parses Jinja as transformers sets it up: blocks trimmed, Python's methods known.
    pub fn new(source: &str, tokens: &TokenTexts) -> Result<ChatTemplate, DataError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| DataError::TemplateSyntax { what: describe(&error) })?);
        environment.set_unknown_method_callback(unknown_method_callback);
        add_functions(&mut environment);
        for (name, text) in tokens {
            environment.add_global(name.clone(), Value::from(text.as_str()));
        }
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|error| DataError::TemplateSyntax { what: describe(&error) })?;
        Ok(ChatTemplate { source: source.into(), environment: Arc::new(environment) })
    }

    /// The template of a known name.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn render(&self, messages: &[Message], ending: Ending) -> Result<String, DataError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| {
                let (role, content) =
                    (Value::from(message.role.as_str()), Value::from(message.content.as_str()));
                Value::from_object(Turn { role, content })
            })
            .collect();
        let context = BTreeMap::from([
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(ending == Ending::AwaitsAnswer)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ]);
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(Value::from(context)))
            .map_err(|error| DataError::TemplateFails { what: describe(&error) })
    }
}

/// A message as a template sees it: a map whose keys keep this order when it is written as JSON.
#[derive(Debug)]
struct Turn {
    role: Value,
    content: Value,
}

impl Object for Turn {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(self.role.clone()),
            "content" => Some(self.content.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}

/// `{% generation %}` is a marker of transformers' own around assistant text; here prefixes tell the same.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let Some(length) = rest[begin..].find("%}") else { break };
        let tag = &rest[begin + 2..begin + length];
        let word = tag.trim_matches(['-', '+', ' ', '\t', '\n', '\r']);
        let replaced = match word {
            "generation" => tag.replacen("generation", "if true", 1),
            "endgeneration" => tag.replacen("endgeneration", "endif", 1),
            _ => tag.to_string(),
        };
        text.push_str(&rest[..begin + 2]);
        text.push_str(&replaced);
        rest = &rest[begin + length..];
    }
    text.push_str(rest);
    text
}

fn describe(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_string);
    match error.line() {
        Some(line) => format!("{what} (line {line} of the template)"),
        None => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[(&str, &str)], ending: Ending) -> Result<String, DataError> {
        let tokens = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
        let messages: Vec<Message> =
            messages.iter().map(|(role, content)| Message::new(*role, *content)).collect();
        ChatTemplate::new(source, &tokens)?.render(&messages, ending)
    }

    #[test]
    fn chatml_opens_and_closes_turns() {
        let source = ChatTemplate::built_in("chatml").expect("known");
        let text = render(source, &[("user", "hi")], Ending::AwaitsAnswer).expect("renders");
        assert_eq!(text, "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
    }

    #[test]
    fn every_built_in_template_is_jinja() {
        for (name, source) in BUILT_IN {
            let text = render(source, &[("system", "s"), ("user", "u"), ("assistant", "a")], Ending::Closed);
            assert!(text.is_ok_and(|text| text.contains('a')), "{name}");
        }
    }

    #[test]
    fn a_template_says_why_it_refuses() {
        let source =
            "{% if messages[0]['role'] != 'user' %}{{ raise_exception('must begin with user') }}{% endif %}";
        let error = render(source, &[("assistant", "x")], Ending::Closed).expect_err("refuses");
        assert_eq!(
            error.to_string(),
            "the chat template fails: must begin with user (line 1 of the template)"
        );
    }

    #[test]
    fn llama_3_style_templates_render() {
        let source = "{{- bos_token }}\n{%- if not tools is defined %}\n    {%- set tools = none %}\n{%- endif %}\n\
            {%- if not date_string is defined %}\n    {%- if strftime_now is defined %}\n        {%- set date_string = strftime_now(\"%d %b %Y\") %}\n    {%- endif %}\n{%- endif %}\n\
            {%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}\n    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system_message = \"\" %}\n{%- endif %}\n\
            {{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n{{- system_message }}\n{{- \"<|eot_id|>\" }}\n\
            {%- for message in messages %}\n    {%- if not (message.role == 'ipython' or 'tool_calls' in message) %}\n        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\n    {%- endif %}\n{%- endfor %}\n\
            {%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n";
        let text = render(source, &[("system", " be kind "), ("user", "hi")], Ending::AwaitsAnswer);
        let expected = "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nbe kind<|eot_id|>\
            <|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
        assert_eq!(text.expect("renders"), expected);
    }

    #[test]
    fn namespaces_loop_controls_and_python_methods_work() {
        let source = "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.content.startswith('skip') %}{% continue %}{% endif %}\
            {% set ns.n = ns.n + 1 %}{{ m.content.split('|')[-1].strip() }}{% generation %}!{% endgeneration %}{% endfor %}{{ ns.n }}";
        let text = render(source, &[("user", "a| b "), ("user", "skip me"), ("user", "c")], Ending::Closed);
        assert_eq!(text.expect("renders"), "b!c!2");
    }

    #[test]
    fn a_message_written_as_json_begins_with_its_role() {
        let text = render(
            "{{ messages[0] | tojson }}{{ messages[0].get('name', '-') }}",
            &[("user", "hi")],
            Ending::Closed,
        );
        assert_eq!(text.expect("renders"), r#"{"role": "user", "content": "hi"}-"#);
    }

    #[test]
    fn a_broken_template_names_its_line() {
        let error = render("{% if %}", &[], Ending::Closed).expect_err("broken");
        assert!(error.to_string().starts_with("the chat template cannot be parsed: "), "{error}");
        assert!(error.to_string().ends_with("(line 1 of the template)"), "{error}");
    }
}
