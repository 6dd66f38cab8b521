//! The syntax tree: what was written, where, and with which comments; nothing is checked yet.

use crate::events::Span;

/// A piece of the tree and the place it was written at.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    pub node: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(node: T, span: Span) -> Spanned<T> {
        Spanned { node, span }
    }
}

/// A comment with its `#`, without the newline.
pub type Comment = Spanned<String>;

/// A script, a cell or an included file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    pub statements: Vec<Statement>,
    /// Comments after the last statement.
    pub dangling: Vec<Comment>,
}

/// One statement with the comments that belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The statement itself, without its comments.
    pub span: Span,
    pub kind: StatementKind,
    /// Comments on the lines above.
    pub leading: Vec<Comment>,
    /// A comment after it on its last line.
    pub trailing: Option<Comment>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// `ltune 1`
    Version(Spanned<u64>),
    /// `let n = 4 * 1024`
    Let { name: Spanned<String>, value: Expr },
    /// `include "models.ltune"`
    Include { path: Spanned<String> },
    /// `model base { … }`, `data chat { … }`, `tune a { … }`
    Definition { noun: Spanned<String>, name: Spanned<String>, block: Block },
    /// `repeat 3 { … }`
    Repeat { count: Expr, body: Vec<Statement>, dangling: Vec<Comment>, span: Span },
    /// `rust { … }`: the word, and what stands between the braces.
    Rust { word: Spanned<String>, text: Spanned<String> },
    /// Everything that acts: `step a 20`, `plot loss of a to "loss.svg"`.
    Verb(Verb),
}

/// `{ name = value; … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub span: Span,
    pub entries: Vec<Entry>,
    /// Comments after the last entry.
    pub dangling: Vec<Comment>,
    /// A line of it could not be read: what seems to be missing may stand there.
    pub damaged: bool,
}

/// `name = value` in a block; the name may be dotted.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: Spanned<String>,
    pub value: Expr,
    pub leading: Vec<Comment>,
    pub trailing: Option<Comment>,
}

impl Entry {
    pub fn span(&self) -> Span {
        self.name.span.to(self.value.span)
    }
}

/// One shape for all verbs: `plot loss, lr of a, b to "x.svg" { … }` has three phrases and a block.
#[derive(Clone, Debug, PartialEq)]
pub struct Verb {
    pub word: Spanned<String>,
    pub phrases: Vec<Phrase>,
    pub block: Option<Block>,
}

/// A preposition (none for the first phrase) and its groups: `of a, b` has one group of two,
/// `step a 20` two groups of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Phrase {
    pub preposition: Option<Spanned<String>>,
    pub groups: Vec<Vec<Expr>>,
}

impl Phrase {
    /// From the preposition, or the first value, to the last value.
    pub fn span(&self) -> Option<Span> {
        let values = self.groups.iter().flatten().map(|expr| expr.span);
        self.preposition.iter().map(|word| word.span).chain(values).reduce(Span::to)
    }
}

/// The words that begin a phrase of a verb.
pub const PREPOSITIONS: &[&str] = &["of", "on", "to", "as", "for", "until", "at", "from"];

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub span: Span,
    pub kind: ExprKind,
}

impl Expr {
    pub fn new(kind: ExprKind, span: Span) -> Expr {
        Expr { span, kind }
    }

    /// The word, when the value is a single bare word.
    pub fn as_word(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Path(names) if names.len() == 1 => Some(&names[0]),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `16`, `2e-4`; `whole` when it was written without a point and without an exponent.
    Number {
        value: f64,
        whole: Option<i64>,
    },
    /// `512 tokens`, `2GiB`, `10%`: the unit as it was written.
    Quantity {
        value: f64,
        whole: Option<i64>,
        unit: Spanned<String>,
    },
    /// `"…"`, `"""…"""` or `r"…"`, with escapes already read.
    Text(String),
    /// `f"loss {x}"`
    Interpolated(Vec<Piece>),
    /// `a`, `chat.test`, `bf16`
    Path(Vec<String>),
    /// `lora { rank = 16 }`
    Choice {
        word: Spanned<String>,
        block: Block,
    },
    /// `{ prompt = "question" }`, a block without a word before it.
    Block(Block),
    /// `one_of(1, 2)`, `log(1e-6 .. 1e-3, 7)`, `user("hello")`
    Call {
        name: Spanned<String>,
        arguments: Vec<Expr>,
    },
    /// `[0.9, 0.999]`
    List(Vec<Expr>),
    /// `0..12`, `8..64 step 8`; both ends belong to it.
    Range {
        start: Box<Expr>,
        end: Box<Expr>,
        step: Option<Box<Expr>>,
    },
    Binary {
        operator: Operator,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `eval.loss < 1.8`
    Compare {
        comparison: Comparison,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `-x`
    Negate(Box<Expr>),
    /// `(n + 1)`
    Paren(Box<Expr>),
    /// `4 x 4`
    Cross(Box<Expr>, Box<Expr>),
    /// `90% / 5% / 5%`: the shares in hundredths.
    Ratio(Vec<Expr>),
}

/// A piece of an `f"…"` text.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Text(String),
    Value(Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operator {
    pub fn symbol(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Comparison {
    #[serde(rename = "<")]
    Less,
    #[serde(rename = "<=")]
    LessOrEqual,
    #[serde(rename = ">")]
    Greater,
    #[serde(rename = ">=")]
    GreaterOrEqual,
    #[serde(rename = "==")]
    Equal,
    #[serde(rename = "!=")]
    Different,
}

impl Comparison {
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Equal => "==",
            Comparison::Different => "!=",
        }
    }

    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Equal => left == right,
            Comparison::Different => left != right,
        }
    }
}
