//! One request of the corpus.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// One request, as a file of the corpus has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What it tries, in a few words; unique in the corpus.
    pub name: String,
    /// Method, path and query: `GET /api/v1/pods?limit=1`. `{{NAME.path.to.field}}` stands for a
    /// field of the answer that was kept under this name.
    pub call: String,
    /// What the body is.
    #[serde(default, rename = "as")]
    pub kind: BodyKind,
    /// The body; `{{...}}` as in `call`, in any text of it.
    #[serde(default)]
    pub body: Option<Value>,
    /// The body as it is sent, where it is no JSON.
    #[serde(default)]
    pub text: Option<String>,
    /// What the answer should be, where it is not plain JSON.
    #[serde(default)]
    pub accept: Option<String>,
    /// The name under which the answer is kept.
    #[serde(default)]
    pub keep: Option<String>,
    /// The request is repeated until it is answered with this status.
    #[serde(default)]
    pub until: Option<u16>,
    /// Paths of the answer that are not compared, with why in a comment of the file: `a.b.c`; a `*`
    /// stands for each element.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// The heading in `docs/limits.md` of the known limit by which the answers differ.
    #[serde(default)]
    pub limit: Option<String>,
    /// The file it is from.
    #[serde(skip)]
    pub file: String,
}

/// What a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyKind {
    #[default]
    Json,
    Yaml,
    JsonPatch,
    MergePatch,
    StrategicPatch,
    Apply,
    /// Something that no API server knows.
    Unknown,
}

impl BodyKind {
    /// The value of Content-Type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::JsonPatch => "application/json-patch+json",
            Self::MergePatch => "application/merge-patch+json",
            Self::StrategicPatch => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
            Self::Unknown => "application/x-unknown",
        }
    }
}

/// The requests of all files of a directory, in the order of the files' names.
///
/// # Panics
/// A file cannot be read, or two requests have one name.
pub fn steps(directory: &Path) -> Vec<Step> {
    let entries = std::fs::read_dir(directory).expect("the corpus");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut steps: Vec<Step> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file of the corpus");
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let read: Vec<Step> = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for step in read {
            let twice = steps.iter().any(|other| other.name == step.name);
            assert!(!twice, "{name}: two requests are called {:?}", step.name);
            steps.push(Step {
                file: name.clone(),
                ..step
            });
        }
    }
    steps
}
