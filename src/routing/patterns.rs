//! Regular expressions that Envoy takes.
//!
//! Envoy compiles them with RE2 in its Latin-1 mode (<https://github.com/google/re2/wiki/Syntax>), and
//! refuses the whole route configuration for one that does not compile. What is read here is what
//! RE2 and the regex crate's parser read alike; what only RE2 takes (`\Q`, `\C`, octal escapes, a
//! brace that stands for itself) is refused too, with a message instead of a silent loss.

use gatewright_xds::proto::envoy::r#type::matcher::v3::RegexMatcher;
use regex_syntax::ast::{
    Ast, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, Flags, FlagsItemKind,
    GroupKind, HexLiteralKind, Literal, LiteralKind, RepetitionKind, RepetitionRange,
    parse::Parser,
};

use super::problem::Refusal;

/// RE2's limit for a count, and for the product of nested counts.
const LARGEST_COUNT: u32 = 1000;
/// The bootstrap lets programs have 32768 instructions; the estimate here may be half of the truth.
const LARGEST_PROGRAM: u64 = 16_384;
/// RE2's general categories, and the scripts that people are likely to write.
const CLASSES: [&str; 55] = [
    "Any",
    "C",
    "Cc",
    "Cf",
    "Co",
    "Cs",
    "L",
    "Ll",
    "Lm",
    "Lo",
    "Lt",
    "Lu",
    "M",
    "Mc",
    "Me",
    "Mn",
    "N",
    "Nd",
    "Nl",
    "No",
    "P",
    "Pc",
    "Pd",
    "Pe",
    "Pf",
    "Pi",
    "Po",
    "Ps",
    "S",
    "Sc",
    "Sk",
    "Sm",
    "So",
    "Z",
    "Zl",
    "Zp",
    "Zs",
    "Arabic",
    "Armenian",
    "Bengali",
    "Common",
    "Cyrillic",
    "Devanagari",
    "Georgian",
    "Greek",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Inherited",
    "Katakana",
    "Khmer",
    "Latin",
    "Tamil",
    "Thai",
];

/// `pattern` as Envoy's matcher.
pub(super) fn matcher(pattern: &str) -> Result<RegexMatcher, Refusal> {
    match check(pattern) {
        Ok(()) => Ok(known_good(pattern)),
        Err(cause) => {
            let message = format!("the proxies cannot use the regex {pattern:?}: {cause}");
            Err(("InvalidRegex", message))
        }
    }
}

/// As [`matcher`], for a pattern of ours.
pub(super) fn known_good(pattern: &str) -> RegexMatcher {
    RegexMatcher {
        regex: pattern.to_owned(),
        ..RegexMatcher::default()
    }
}

fn check(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("it is empty".into());
    }
    let ast = Parser::new()
        .parse(pattern)
        .map_err(|error| error.kind().to_string())?;
    if size(&ast, 1)? > LARGEST_PROGRAM {
        return Err("it is too large".into());
    }
    Ok(())
}

/// The instructions that RE2 makes of `ast`, roughly; `copies` is the product of the counts around.
fn size(ast: &Ast, copies: u32) -> Result<u64, String> {
    match ast {
        Ast::Empty(_) | Ast::Assertion(_) | Ast::Dot(_) => Ok(1),
        Ast::ClassPerl(_) => Ok(8),
        Ast::Flags(set) => flags(&set.flags).map(|()| 0),
        Ast::Literal(literal) => check_literal(literal).map(|()| 2),
        Ast::ClassUnicode(class) => check_class(class).map(|()| 16),
        Ast::ClassBracketed(class) => set(&class.kind),
        Ast::Repetition(repetition) => {
            if matches!(&*repetition.ast, Ast::Repetition(_)) {
                return Err("a repetition of a repetition needs parentheses".into());
            }
            let count = match &repetition.op.kind {
                RepetitionKind::Range(
                    RepetitionRange::Exactly(most)
                    | RepetitionRange::AtLeast(most)
                    | RepetitionRange::Bounded(_, most),
                ) => (*most).max(1),
                _ => 1,
            };
            let copies = copies.saturating_mul(count);
            if copies > LARGEST_COUNT {
                return Err(format!("it repeats more than {LARGEST_COUNT} times"));
            }
            let each = size(&repetition.ast, copies)?;
            Ok((each + 1).saturating_mul(count.into()) + 1)
        }
        Ast::Group(group) => {
            match &group.kind {
                GroupKind::NonCapturing(set) => flags(set)?,
                GroupKind::CaptureName { name, .. } => {
                    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    if !name.name.chars().all(plain) {
                        return Err(format!("{:?} is no name of a group", name.name));
                    }
                }
                GroupKind::CaptureIndex(_) => {}
            }
            Ok(size(&group.ast, copies)?.saturating_add(2))
        }
        Ast::Alternation(several) => total(&several.asts, copies),
        Ast::Concat(several) => total(&several.asts, copies),
    }
}

fn total(asts: &[Ast], copies: u32) -> Result<u64, String> {
    asts.iter().try_fold(0_u64, |sum, ast| {
        Ok(sum.saturating_add(size(ast, copies)? + 1))
    })
}

fn flags(flags: &Flags) -> Result<(), String> {
    let unknown = flags.items.iter().any(|item| {
        matches!(
            item.kind,
            FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace)
        )
    });
    if unknown {
        return Err("only the flags i, m, s and U are known".into());
    }
    Ok(())
}

fn check_literal(literal: &Literal) -> Result<(), String> {
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("\\u and \\U are not known".into())
        }
        // Latin-1 has no more.
        LiteralKind::HexBrace(HexLiteralKind::X) if u32::from(literal.c) > 0xff => {
            Err("\\x{..} goes up to FF".into())
        }
        _ => Ok(()),
    }
}

fn check_class(class: &ClassUnicode) -> Result<(), String> {
    let known = match &class.kind {
        ClassUnicodeKind::OneLetter(letter) => CLASSES.contains(&letter.to_string().as_str()),
        ClassUnicodeKind::Named(name) => {
            CLASSES.contains(&name.strip_prefix('^').unwrap_or(name.as_str()))
        }
        ClassUnicodeKind::NamedValue { .. } => false,
    };
    if known {
        Ok(())
    } else {
        Err("a class \\p that is not known".into())
    }
}

fn set(set: &ClassSet) -> Result<u64, String> {
    match set {
        // RE2 reads `&&`, `--` and `~~` as characters.
        ClassSet::BinaryOp(_) => Err("a class has no operators".into()),
        ClassSet::Item(item) => class_item(item),
    }
}

fn class_item(item: &ClassSetItem) -> Result<u64, String> {
    match item {
        ClassSetItem::Empty(_) => Ok(0),
        ClassSetItem::Literal(literal) => check_literal(literal).map(|()| 2),
        ClassSetItem::Range(range) => {
            check_literal(&range.start)?;
            check_literal(&range.end).map(|()| 2)
        }
        ClassSetItem::Ascii(_) | ClassSetItem::Perl(_) => Ok(8),
        ClassSetItem::Unicode(class) => check_class(class).map(|()| 16),
        // RE2 reads the inner bracket as a character.
        ClassSetItem::Bracketed(_) => Err("a class within a class".into()),
        ClassSetItem::Union(union) => union
            .items
            .iter()
            .try_fold(0, |sum, item| Ok(sum + class_item(item)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    /// The verdicts of Envoy 1.40 are compared in `tests/tests/envoy_routing.rs`.
    #[test]
    fn what_re2_does_not_know_is_refused_with_a_cause() {
        for (pattern, cause) in [
            ("", "it is empty"),
            (
                "(?=a)",
                "look-around, including look-ahead and look-behind, is not supported",
            ),
            ("a{1001}", "it repeats more than 1000 times"),
            ("(a{100}){100}", "it repeats more than 1000 times"),
            ("(?x)a", "only the flags i, m, s and U are known"),
            ("a**", "a repetition of a repetition needs parentheses"),
            ("[a[b]]", "a class within a class"),
            (r"\x{100}", r"\x{..} goes up to FF"),
            (
                "([a-z]{900}/){1}([a-z]{900}/){1}([a-z]{900}/){1}([a-z]{900}/)([a-z]{900}/)([a-z]{900}/)([a-z]{900}/)",
                "it is too large",
            ),
        ] {
            assert_eq!(check(pattern).unwrap_err(), cause, "{pattern}");
        }
    }

    #[test]
    fn what_routes_are_made_of_is_taken() {
        for pattern in [
            "/api/v[0-9]+/.*",
            r"/(en|de)/[\w-]{1,64}\.html",
            r"(?i)/img/[^/]+\.(png|jpe?g)",
            r"(?P<id>\d+)(?:/x)?",
            "[[:alnum:]]+",
            "[a-z]{1000}",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }
}
