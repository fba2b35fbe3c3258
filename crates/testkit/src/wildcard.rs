//! Wildcards for unpredictable text: `<any integer>`, `<any text>`, `<between 90 100>` inside a
//! line, and `<any lines>` (or none) as the last line of a reply.
//!
//! Only these words are wildcards: any other `<…>` stands for itself.

/// Whether the received lines match the recorded ones. Blanks at the ends of lines are ignored,
/// since editors remove them, and before an open end those at line starts too: they depend on the
/// number of lines.
pub fn matches(written: &[String], came: &[String]) -> bool {
    let (written, open_end) = match written.split_last() {
        Some((last, before)) if last == "<any lines>" => (before, true),
        _ => (written, false),
    };
    let enough = if open_end { came.len() >= written.len() } else { came.len() == written.len() };
    enough
        && written.iter().zip(came).all(|(written, came)| {
            let blanks_before = |line: &str| line.len() - line.trim_start().len();
            let skip = |line: &str| if open_end { blanks_before(line) } else { 0 };
            line_matches(written[skip(written)..].trim_end(), came[skip(came)..].trim_end())
        })
}

enum Wildcard {
    Integer,
    Text,
    Between(f64, f64),
}

fn line_matches(written: &str, came: &str) -> bool {
    let Some((literal, wildcard, rest)) = first_wildcard(written) else { return written == came };
    let Some(came) = came.strip_prefix(literal) else { return false };
    let ends = came.char_indices().map(|(at, _)| at).chain([came.len()]);
    ends.into_iter().any(|end| {
        let (taken, left) = came.split_at(end);
        let fits = match wildcard {
            Wildcard::Integer => taken.parse::<i64>().is_ok(),
            Wildcard::Text => true,
            Wildcard::Between(low, high) => {
                taken.parse::<f64>().is_ok_and(|number| (low..=high).contains(&number))
            }
        };
        fits && line_matches(rest, left)
    })
}

/// The text before the first wildcard, the wildcard, and what follows.
fn first_wildcard(line: &str) -> Option<(&str, Wildcard, &str)> {
    line.match_indices('<').find_map(|(at, _)| {
        let (words, rest) = line[at + 1..].split_once('>')?;
        let wildcard = match words {
            "any integer" => Wildcard::Integer,
            "any text" => Wildcard::Text,
            _ => {
                let (low, high) = words.strip_prefix("between ")?.split_once(' ')?;
                Wildcard::Between(low.parse().ok()?, high.parse().ok()?)
            }
        };
        Some((&line[..at], wildcard, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (written, came, fits) in [
            ("OK", "OK", true),
            ("OK", "OK ", false),
            ("(integer) <any integer>", "(integer) -12", true),
            ("(integer) <any integer>", "(integer) x", false),
            ("(integer) <between 90 100>", "(integer) 100", true),
            ("(integer) <between 90 100>", "(integer) 101", false),
            ("id=<any integer> x <any text>\"", "id=5 x y\"", true),
            ("id=<any integer> x <any text>\"", "id=5 y\"", false),
            ("a <field> b", "a <field> b", true),
            ("<a <any text>!", "<a b!!", true),
        ] {
            assert_eq!(line_matches(written, came), fits, "{written} / {came}");
        }
    }

    #[test]
    fn blanks() {
        let lines = |text: &str| vec![text.to_owned(), "<any lines>".to_owned()];
        assert!(matches(&lines("1) a "), &[" 1) a".to_owned(), " 2) b".to_owned()]));
        assert!(!matches(&["1) a".to_owned()], &[" 1) a".to_owned()]));
    }

    #[test]
    fn many_lines() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(matches(&lines("a\n<any lines>"), &lines("a\nb\nc")));
        assert!(matches(&lines("a\n<any lines>"), &lines("a")));
        assert!(!matches(&lines("a\n<any lines>"), &lines("b\nc")));
        assert!(!matches(&lines("a"), &lines("a\nb")));
        assert!(!matches(&lines("a\nb"), &lines("a")));
    }
}
