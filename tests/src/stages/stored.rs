//! The stored files. `GATEWRIGHT_UPDATE=1` writes them anew from the ground that may.

use std::path::PathBuf;

/// Lines around a difference that are shown with it.
const CONTEXT: usize = 4;

fn path(stage: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/stages");
    PathBuf::from(folder).join(format!("{stage}.yaml"))
}

/// Whether the files are to be written anew.
pub(super) fn is_asked_for() -> bool {
    std::env::var_os("GATEWRIGHT_UPDATE").is_some()
}

pub(super) fn write(stage: &str, text: &str) {
    let path = path(stage);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
    std::fs::write(path, text).expect("a stored file");
}

pub(super) fn read(stage: &str) -> String {
    let path = path(stage);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of one text that the other has not, with some around them.
pub(super) fn difference(stored: &str, found: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (stored.lines().collect(), found.lines().collect());
    // The length of the longest common run of what is left, for every pair of places.
    let mut common = vec![vec![0usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let mut lines = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        let to = (at + CONTEXT + 1).min(lines.len());
        lines[from..to].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut text = String::new();
    for (at, (mark, line)) in lines.iter().enumerate() {
        if near(at) {
            text.extend([*mark, ' ']);
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_went_and_what_came() {
        let shown = difference("a\nb\nc\n", "a\nx\nc\nd\n");
        assert_eq!(shown, "  a\n- b\n+ x\n  c\n+ d\n");
    }
}
