//! The kinds of parts: the places of their files and lines, and the gaps that their authors have to fill.

use super::{Kind, Line, Part};

const METHOD: Part = Part {
    path: "gnr-core/src/regularizer/{{file}}.rs",
    template: include_str!("templates/method.txt"),
    lines: &[
        Line {
            path: "gnr-core/src/regularizer/mod.rs",
            below: "//!",
            before: "mod asam;",
            text: "mod {{file}};",
        },
        Line {
            path: "gnr-core/src/regularizer/mod.rs",
            below: "regularizers! {",
            before: "// GNR comes last in listings, because the others can be its base objective.",
            text: "    {{file}}::{{Type}}({{Type}}<Radius>),",
        },
        Line {
            path: "gnr-core/tests/it/regularizer_matrix.rs",
            below: "pub(crate) const LINES: &[Line] = &[",
            before: "];",
            text: "    line(\"{{name}}\", &[], 1.0, 0.0),",
        },
    ],
    package: "gnr-core",
    what: "a method",
    tests: "regularizer_matrix registry",
    truth: &[
        "gnr-core/src/regularizer/{{file}}.rs: the method in `add_gradient`, what it needs in `needs`, its settings; doc, equation, reference and \
         cost of its entry (`every_entry_is_complete`)",
        "gnr-core/tests/golden/regularizers: its formula in make.py, and {{name}}.txt, which make.py writes (`every_regularizer_has_the_golden_values`)",
        "gnr-core/tests/it/regularizer_matrix.rs: gradients and products of a step in its line, if not one and none",
    ],
};

const OPTIMIZER: Part = Part {
    path: "gnr-core/src/optimizer/{{file}}.rs",
    template: include_str!("templates/optimizer.txt"),
    lines: &[
        Line {
            path: "gnr-core/src/optimizer/mod.rs",
            below: "//!",
            before: "mod ada_bound;",
            text: "mod {{file}};",
        },
        Line {
            path: "gnr-core/src/optimizer/mod.rs",
            below: "optimizers! {",
            before: "}",
            text: "    {{file}}::{{Type}},",
        },
        Line {
            path: "gnr-core/tests/it/matrix.rs",
            below: "const OPTIMIZERS:",
            before: "];",
            text: "    (\"{{name}}\", \"lr=0.01\"),",
        },
    ],
    package: "gnr-core",
    what: "an optimiser",
    tests: "matrix registry golden",
    truth: &[
        "gnr-core/src/optimizer/{{file}}.rs: the update in `step`, its state and settings; doc, equation and reference of its entry \
         (`every_entry_is_complete`)",
        "gnr-core/tests/golden-optimizers: a case in make.py, and {{name}}.txt, which make.py writes",
        "gnr-core/tests/it/matrix.rs: a learning rate in its line that minimises a quadratic in 2000 steps, if not 0.01",
    ],
};

const SCHEDULE: Part = Part {
    path: "gnr-core/src/schedule/{{file}}.rs",
    template: include_str!("templates/schedule.txt"),
    lines: &[
        Line {
            path: "gnr-core/src/schedule/mod.rs",
            below: "//!",
            before: "mod constant;",
            text: "mod {{file}};",
        },
        Line {
            path: "gnr-core/src/schedule/mod.rs",
            below: "mod warm_up;",
            before: "pub use cosine::Cosine;",
            text: "pub use {{file}}::{{Type}};",
        },
        Line {
            path: "gnr-core/src/schedule/mod.rs",
            below: "schedules! {",
            before: "}",
            text: "    {{Type}},",
        },
        Line {
            path: "gnr-core/tests/it/matrix.rs",
            below: "const SCHEDULES:",
            before: "];",
            text: "    (\"{{name}}\", \"\", 0.1, &[(0, f64::NAN)]),",
        },
    ],
    package: "gnr-core",
    what: "a schedule",
    tests: "matrix registry",
    truth: &[
        "gnr-core/src/schedule/{{file}}.rs: the value in `at`, its settings; doc, equation and reference of its entry (`every_entry_is_complete`)",
        "gnr-core/tests/it/matrix.rs: values worked out by hand in its line, in place of NaN \
         (`every_registered_schedule_has_a_line_and_its_values`), and a value for every new key in `every_key_of_a_schedule_changes_it`",
    ],
};

const MODEL: Part = Part {
    path: "gnr-models/src/{{file}}.rs",
    template: include_str!("templates/model.txt"),
    lines: &[
        Line {
            path: "gnr-models/src/lib.rs",
            below: "//!",
            before: "mod config;",
            text: "pub mod {{file}};",
        },
        Line {
            path: "gnr-models/src/registry.rs",
            below: "use gnr_nn::",
            before: "use crate::{",
            text: "use crate::{{file}}::{{Type}};",
        },
        Line {
            path: "gnr-models/src/registry.rs",
            below: "architectures! {",
            before: "}",
            text: "    /// See [`{{Type}}`].\n    {{Type}}({{Type}}),",
        },
        Line {
            path: "gnr-models/tests/it/registry.rs",
            below: "fn parameter_counts()",
            before: "];",
            text: "        (\"{{name}}\", 10, [3, 32, 32], 0),",
        },
    ],
    package: "gnr-models",
    what: "a model",
    tests: "registry forward",
    truth: &[
        "gnr-models/src/{{file}}.rs: layout and `forward`, with the tensor names of published weights; description and reference \
         (`names_are_unique_and_described`)",
        "gnr-models/tests/it/registry.rs: the published number of parameters in place of 0 (`parameter_counts`)",
        "gnr-models/tests/golden: PyTorch's numbers (make.py), and a line in gnr-models/src/testing/architectures.rs, which every \
         backend checks",
    ],
};

const DATASET: Part = Part {
    path: "gnr-data/src/source/{{file}}.rs",
    template: include_str!("templates/dataset.txt"),
    lines: &[
        Line {
            path: "gnr-data/src/source/mod.rs",
            below: "//!",
            before: "pub(crate) mod cars;",
            text: "pub(crate) mod {{file}};",
        },
        Line {
            path: "gnr-data/src/registry.rs",
            below: "use crate::resize::",
            before: "use crate::source::files::Keep;",
            text: "use crate::source::{{file}};",
        },
        Line {
            path: "gnr-data/src/registry.rs",
            below: "static REGISTRY:",
            before: "];",
            text: "    {{file}}::INFO,",
        },
        Line {
            path: "gnr-data/tests/it/registry.rs",
            below: "const MATRIX:",
            before: "];",
            text: "    (\"{{name}}\", trees::{{file}}_tree),",
        },
        Line {
            path: "gnr-data/tests/it/trees.rs",
            below: "pub(crate) fn image_tree",
            before: "/// The path of a file in the folder `shared` beside the repository, or in the one that `GNR_SHARED` names. Tests that",
            text: include_str!("templates/tree.txt"),
        },
    ],
    package: "gnr-data",
    what: "a data set",
    tests: "registry layouts",
    truth: &[
        "gnr-data/src/source/{{file}}.rs: the published layout in `open` and `entries`, the classes; summary, layouts, licence, how to get it and \
         checksums of its entry (`every_data_set_is_described`)",
        "gnr-data/tests/it/trees.rs: `{{file}}_tree` makes a small tree of that layout",
        "gnr-data/tests/it/layouts.rs: what is said of a truncated file and of a line that is wrong",
    ],
};

pub(super) fn of(kind: Kind) -> &'static Part {
    match kind {
        Kind::Method => &METHOD,
        Kind::Optimizer => &OPTIMIZER,
        Kind::Schedule => &SCHEDULE,
        Kind::Model => &MODEL,
        Kind::Dataset => &DATASET,
    }
}

/// Sets the length in the type of the data sets' matrix to the number of its lines.
pub(super) fn counted(text: String) -> String {
    const HEAD: &str = "const MATRIX: [(&str, Maker); ";
    let Some((before, after)) = text.split_once(HEAD) else { return text };
    let Some((_, list)) = after.split_once(']') else { return text };
    let count = list
        .lines()
        .skip(1)
        .take_while(|line| *line != "];")
        .filter(|line| line.starts_with("    ("))
        .count();
    format!("{before}{HEAD}{count}]{list}")
}
