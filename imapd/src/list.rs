//! LIST and LSUB (RFC 3501 §6.3.8-9, RFC 5258, RFC 6154): which folders a pattern names, and with which attributes.

use std::collections::{BTreeMap, HashSet};

use spool::edges::mailbox::{Folder, SpecialUse};

use crate::command::List;

/// One line of an answer, ready for `render::list_line` and `render::lsub_line`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The folder's name, UTF-8.
    pub name: String,
    /// The folder is there: it may be selected, and has a STATUS.
    pub exists: bool,
    /// Whether folders lie below it.
    pub children: bool,
    /// \Subscribed; filled in only when it was asked for.
    pub subscribed: bool,
    /// RFC 6154.
    pub special_use: Option<SpecialUse>,
    /// CHILDINFO ("SUBSCRIBED"): something below is subscribed (RFC 5258 §3.5).
    pub child_info: bool,
    /// Tell a folder that is not there as \NonExistent rather than \Noselect.
    pub extended: bool,
}

/// A folder name pattern: `*` is anything, `%` anything but `/`.
#[derive(Debug, Clone)]
pub struct Pattern(Vec<char>);

impl Pattern {
    /// The reference and the pattern as one (RFC 3501 §6.3.8): the reference is put in front.
    #[must_use]
    pub fn new(reference: &str, pattern: &str) -> Self {
        let mut chars: Vec<char> = Vec::with_capacity(reference.len() + pattern.len());
        for c in reference.chars().chain(pattern.chars()) {
            // Two stars are one, and a percent beside a star adds nothing: patterns stay short to match.
            match (chars.last(), c) {
                (Some('*'), '*' | '%') | (Some('%'), '%') => {}
                (Some('%'), '*') => {
                    chars.pop();
                    chars.push('*');
                }
                _ => chars.push(c),
            }
        }
        Self(chars)
    }

    /// Whether a name matches. The letters of a first level `INBOX` match in any case.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let inbox = if name == "INBOX" || name.starts_with("INBOX/") { 5 } else { 0 };
        // Which pattern positions the name so far can have reached; a name has at most 1,000 characters.
        let mut reached = vec![false; self.0.len() + 1];
        let mut next = reached.clone();
        reached[0] = true;
        self.step_over_wildcards(&mut reached);
        for (at, c) in name.chars().enumerate() {
            next.fill(false);
            let same = |p: char| p == c || at < inbox && p.eq_ignore_ascii_case(&c);
            for (i, &p) in self.0.iter().enumerate().filter(|&(i, _)| reached[i]) {
                match p {
                    '*' => next[i] = true,
                    '%' => next[i] |= c != '/',
                    p if same(p) => next[i + 1] = true,
                    _ => {}
                }
            }
            self.step_over_wildcards(&mut next);
            std::mem::swap(&mut reached, &mut next);
        }
        reached.last().copied().unwrap_or(false)
    }

    // A wildcard may stand for nothing.
    fn step_over_wildcards(&self, reached: &mut [bool]) {
        for (i, p) in self.0.iter().enumerate() {
            if reached[i] && matches!(p, '*' | '%') {
                reached[i + 1] = true;
            }
        }
    }
}

/// What is known of one name, folder or not.
#[derive(Default)]
struct Node {
    exists: bool,
    special_use: Option<SpecialUse>,
    subscribed: bool,
    /// A folder lies below.
    children: bool,
    /// A subscribed name lies below.
    subscribed_below: bool,
}

// Every folder, every subscribed name, and all their parents.
fn tree<'a>(folders: &'a [Folder], subscriptions: &'a [String]) -> BTreeMap<&'a str, Node> {
    let mut tree: BTreeMap<&str, Node> = BTreeMap::new();
    for folder in folders {
        let node = tree.entry(&folder.name).or_default();
        (node.exists, node.special_use) = (true, folder.special_use);
        for parent in parents(&folder.name) {
            tree.entry(parent).or_default().children = true;
        }
    }
    for name in subscriptions {
        tree.entry(name).or_default().subscribed = true;
        for parent in parents(name) {
            tree.entry(parent).or_default().subscribed_below = true;
        }
    }
    tree
}

fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at)).filter(|parent| !parent.is_empty())
}

/// The answer to LIST, in the order of names, INBOX first. The empty pattern of a plain LIST is not for here: it asks
/// for the delimiter (`render::root_line`).
#[must_use]
pub fn list(command: &List, folders: &[Folder], subscriptions: &[String]) -> Vec<Line> {
    let patterns: Vec<_> = command.patterns.iter().map(|pattern| Pattern::new(&command.reference, pattern)).collect();
    let tree = tree(folders, subscriptions);
    let matches: HashSet<&str> =
        tree.keys().copied().filter(|name| patterns.iter().any(|pattern| pattern.matches(name))).collect();
    let hidden = if command.recursive_match { hidden_below(command, &tree, &matches) } else { HashSet::new() };
    let mut lines = Vec::new();
    for (&name, node) in tree.iter().filter(|(name, _)| matches.contains(*name)) {
        if selected(command, node) || hidden.contains(name) {
            lines.push(Line {
                name: name.to_owned(),
                exists: node.exists,
                children: node.children,
                subscribed: node.subscribed && (command.return_subscribed || command.subscribed),
                special_use: node.special_use,
                child_info: command.recursive_match && command.subscribed && node.subscribed_below,
                extended: command.extended,
            });
        }
    }
    inbox_first(lines)
}

// RFC 5258 §3.1: RECURSIVEMATCH shows a parent that is not selected itself when something selected below it is out of
// the pattern's reach.
fn hidden_below<'a>(command: &List, tree: &BTreeMap<&'a str, Node>, matches: &HashSet<&str>) -> HashSet<&'a str> {
    let hidden = tree.iter().filter(|(name, node)| selected(command, node) && !matches.contains(*name));
    hidden.flat_map(|(name, _)| parents(name)).collect()
}

fn selected(command: &List, node: &Node) -> bool {
    if !command.subscribed && !command.special_use {
        return node.exists || node.children;
    }
    (!command.subscribed || node.subscribed) && (!command.special_use || node.special_use.is_some())
}

/// The answer to LSUB: subscribed names, existing or not; with a `%` also the parents of subscribed ones that are not
/// subscribed themselves, as \Noselect (RFC 3501 §6.3.9).
#[must_use]
pub fn lsub(reference: &str, pattern: &str, folders: &[Folder], subscriptions: &[String]) -> Vec<Line> {
    let percent = pattern.contains('%');
    let pattern = Pattern::new(reference, pattern);
    let mut lines = Vec::new();
    for (name, node) in tree(folders, subscriptions) {
        let parent = percent && node.subscribed_below;
        if (node.subscribed || parent) && pattern.matches(name) {
            // LSUB's \Noselect says "not subscribed", whether or not the folder is there.
            let exists = node.subscribed;
            let special_use = node.special_use;
            lines.push(Line { name: name.to_owned(), exists, children: node.children, special_use, ..Line::default() });
        }
    }
    inbox_first(lines)
}

fn inbox_first(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_by_key(|line| line.name != "INBOX");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use spool::names::FolderId;

    fn folder(name: &str) -> Folder {
        let special_use = match name {
            "Sent" => Some(SpecialUse::Sent),
            "Old/Trash" => Some(SpecialUse::Trash),
            _ => None,
        };
        Folder {
            id: FolderId(1),
            name: name.to_owned(),
            uid_validity: 1,
            uid_next: 1,
            special_use,
            messages: 0,
            unseen: 0,
            recent: 0,
            deleted: 0,
            bytes: 0,
            modseq: 0,
        }
    }

    fn names(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.name.as_str()).collect()
    }

    // Listed as rendered: attributes say most about what was decided.
    fn listed(command: &str, folders: &[&str], subscribed: &[&str]) -> Vec<String> {
        let folders: Vec<_> = folders.iter().map(|name| folder(name)).collect();
        let subscribed: Vec<_> = subscribed.iter().map(|name| (*name).to_owned()).collect();
        let parsed = crate::grammar::parse(format!("a {command}").as_bytes()).unwrap().command;
        let mut out = Vec::new();
        match parsed {
            crate::command::Command::List(command) => {
                list(&command, &folders, &subscribed).iter().for_each(|line| crate::render::list_line(&mut out, line));
            }
            crate::command::Command::Lsub { reference, pattern } => lsub(&reference, &pattern, &folders, &subscribed)
                .iter()
                .for_each(|line| crate::render::lsub_line(&mut out, line)),
            other => panic!("{other:?}"),
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn patterns() {
        let matches = |pattern, name| Pattern::new("", pattern).matches(name);
        for (pattern, name) in [
            ("*", "a/b"),
            ("%", "a"),
            ("a/%", "a/b"),
            ("*b", "a/b"),
            ("a*", "a"),
            ("%/%", "a/b"),
            ("%b*d", "ab/cd"),
            ("inbox", "INBOX"),
            ("Inbox/x", "INBOX/x"),
            ("%*%", "a/b"),
            ("", ""),
            ("Entw%", "Entwürfe"),
            ("in%", "INBOX"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("%", "a/b"), ("a", "A"), ("", "a"), ("a/%", "a"), ("inbox/X", "INBOX/x"), ("%b", "a/b")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(Pattern::new("a/", "%").matches("a/b"));
    }

    #[test]
    fn plain_list() {
        let folders = ["Sent", "INBOX", "Old/Trash"];
        assert_eq!(
            listed("LIST \"\" *", &folders, &[]),
            [
                r#"* LIST (\HasNoChildren) "/" "INBOX""#,
                r#"* LIST (\HasChildren \Noselect) "/" "Old""#,
                r#"* LIST (\HasNoChildren \Trash) "/" "Old/Trash""#,
                r#"* LIST (\HasNoChildren \Sent) "/" "Sent""#,
            ]
        );
        assert_eq!(listed("LIST Old/ %", &folders, &[]), [r#"* LIST (\HasNoChildren \Trash) "/" "Old/Trash""#]);
        assert_eq!(listed("LIST \"\" %/nothing", &folders, &[]), [""; 0]);
    }

    // RFC 5258 §5, the fruit examples.
    #[test]
    fn extended_list() {
        let folders = [
            "INBOX",
            "Fruit",
            "Fruit/Apple",
            "Fruit/Banana",
            "Tofu",
            "Vegetable",
            "Vegetable/Broccoli",
            "Vegetable/Corn",
        ];
        let subscribed = ["INBOX", "Fruit/Banana", "Fruit/Peach", "Vegetable", "Vegetable/Broccoli"];
        assert_eq!(
            listed("LIST (SUBSCRIBED) \"\" \"*\"", &folders, &subscribed),
            [
                r#"* LIST (\HasNoChildren \Subscribed) "/" "INBOX""#,
                r#"* LIST (\HasNoChildren \Subscribed) "/" "Fruit/Banana""#,
                r#"* LIST (\HasNoChildren \NonExistent \Subscribed) "/" "Fruit/Peach""#,
                r#"* LIST (\HasChildren \Subscribed) "/" "Vegetable""#,
                r#"* LIST (\HasNoChildren \Subscribed) "/" "Vegetable/Broccoli""#,
            ]
        );
        assert_eq!(
            listed("LIST (RECURSIVEMATCH SUBSCRIBED) \"\" \"%\"", &folders, &subscribed),
            [
                r#"* LIST (\HasNoChildren \Subscribed) "/" "INBOX""#,
                r#"* LIST (\HasChildren) "/" "Fruit" ("CHILDINFO" ("SUBSCRIBED"))"#,
                r#"* LIST (\HasChildren \Subscribed) "/" "Vegetable" ("CHILDINFO" ("SUBSCRIBED"))"#,
            ]
        );
        let all = listed("LIST \"\" (\"INBOX\" \"Fruit/%\") RETURN (SUBSCRIBED CHILDREN)", &folders, &subscribed);
        assert_eq!(
            all,
            [
                r#"* LIST (\HasNoChildren \Subscribed) "/" "INBOX""#,
                r#"* LIST (\HasNoChildren) "/" "Fruit/Apple""#,
                r#"* LIST (\HasNoChildren \Subscribed) "/" "Fruit/Banana""#,
            ]
        );
        assert_eq!(
            listed("LIST (SPECIAL-USE) \"\" *", &["INBOX", "Sent", "Old/Trash"], &[]),
            [r#"* LIST (\HasNoChildren \Trash) "/" "Old/Trash""#, r#"* LIST (\HasNoChildren \Sent) "/" "Sent""#]
        );
    }

    // RFC 3501 §6.3.9.
    #[test]
    fn lsub_shows_parents_for_percent() {
        let folders = ["INBOX", "foo", "foo/bar"];
        assert_eq!(listed("LSUB \"\" %", &folders, &["foo/bar"]), [r#"* LSUB (\Noselect) "/" "foo""#]);
        assert_eq!(
            listed("LSUB \"\" *", &folders, &["foo/bar", "gone"]),
            [r#"* LSUB () "/" "foo/bar""#, r#"* LSUB () "/" "gone""#,]
        );
    }

    // The plain definition, exponential and obviously right.
    fn slow(pattern: &[char], name: &[char]) -> bool {
        match (pattern.first(), name.first()) {
            (None, None) => true,
            (Some('*'), _) => slow(&pattern[1..], name) || !name.is_empty() && slow(pattern, &name[1..]),
            (Some('%'), _) => {
                slow(&pattern[1..], name) || name.first().is_some_and(|&c| c != '/') && slow(pattern, &name[1..])
            }
            (Some(p), Some(c)) if p == c => slow(&pattern[1..], &name[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matches_as_defined(pattern in "[ab/*%]{0,8}", name in "[ab/]{0,8}") {
            let expected = slow(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>());
            prop_assert_eq!(Pattern::new("", &pattern).matches(&name), expected);
        }

        #[test]
        fn star_lists_every_folder(folders in prop::collection::btree_set("[ab]{1,2}(/[ab]{1,2}){0,2}", 0..8)) {
            let all: Vec<_> = folders.iter().map(|name| folder(name)).collect();
            let command = List { patterns: vec!["*".to_owned()], ..List::default() };
            let lines = list(&command, &all, &[]);
            let listed = names(&lines);
            prop_assert!(folders.iter().all(|name| listed.contains(&name.as_str())));
        }
    }
}
