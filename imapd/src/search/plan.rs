//! A search made ready: keys looked up, sorted by what they cost, and what is left compiled for a worker.

use filter_sandbox::report::Query;
use spool::edges::mailbox::Fact;

use super::facts::{FactKey, View};
use super::summary::SummaryKey;
use super::{Key, Verdict, query};
use crate::letters::Digest;

/// More distinct conditions than a worker can be told of ([`crate::limits::KNOWN`]): NO [LIMIT].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooComplicated;

/// A search over one view of a folder.
#[derive(Debug, Clone)]
pub struct Plan {
    root: Node,
    /// What the worker evaluates, when text must be read.
    query: Result<Option<Query>, TooComplicated>,
    /// Bit n of a letter's known word says whether it matches `known[n]`.
    known: Vec<Node>,
}

/// A key in its cheapest form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Decided by facts.
    Fact(FactKey),
    /// Decided, or perhaps decided, by the summary; what a worker would evaluate in its place.
    Summary(SummaryKey, Option<Query>),
    /// Decided by a worker alone.
    Text(Query),
    /// All.
    And(Vec<Node>),
    /// Any.
    Or(Vec<Node>),
    /// Not.
    Not(Box<Node>),
}

impl Plan {
    /// Makes a search ready.
    #[must_use]
    pub fn new(key: &Key, view: &View<'_>) -> Self {
        let root = node(key, view);
        match query::compile(&root) {
            Ok((query, known)) => Self { root, query: Ok(query), known },
            Err(why) => Self { root, query: Err(why), known: Vec::new() },
        }
    }

    /// Stage one. [`Verdict::Unknown`]: get the letter's summary if [`Plan::needs_summary`], else ask a worker.
    #[must_use]
    pub fn by_fact(&self, sequence: u32, fact: &Fact) -> Verdict {
        self.root.verdict(sequence, fact, None)
    }

    /// Stage two. [`Verdict::Unknown`]: ask a worker.
    #[must_use]
    pub fn by_summary(&self, sequence: u32, fact: &Fact, digest: &Digest) -> Verdict {
        self.root.verdict(sequence, fact, Some(digest))
    }

    /// Whether a summary can tell more than facts.
    #[must_use]
    pub fn needs_summary(&self) -> bool {
        self.root.any(&|node| matches!(node, Node::Summary(..)))
    }

    /// What a worker is to evaluate, when texts may have to be read.
    ///
    /// # Errors
    /// [`TooComplicated`]: a search that facts and summaries decide may have any number of conditions.
    pub fn query(&self) -> Result<Option<&Query>, TooComplicated> {
        self.query.as_ref().map(Option::as_ref).map_err(|why| *why)
    }

    /// The word that goes to the worker with a letter: what is known of it already.
    #[must_use]
    pub fn known(&self, sequence: u32, fact: &Fact, digest: Option<&Digest>) -> u64 {
        let bit = |(at, node): (usize, &Node)| match node.verdict(sequence, fact, digest) {
            Verdict::Yes => 1 << at,
            Verdict::No | Verdict::Unknown => 0,
        };
        self.known.iter().enumerate().map(bit).sum()
    }
}

fn node(key: &Key, view: &View<'_>) -> Node {
    if let Some(fact) = FactKey::of(key, view) {
        return Node::Fact(fact);
    }
    match key {
        Key::And(keys) => Node::And(cheap_first(keys, view)),
        Key::Or(keys) => Node::Or(cheap_first(keys, view)),
        Key::Not(key) => Node::Not(Box::new(node(key, view))),
        Key::Contains(place, text) => match (SummaryKey::of(key), query::text(place, text)) {
            // RFC 3501 §6.4.4 gives the empty text a meaning for HEADER only; BODY and TEXT contain it always.
            (_, Query::Text(_) | Query::Body(_)) if text.is_empty() => Node::Fact(FactKey::Always(true)),
            (Some(summary), query) => Node::Summary(summary, Some(query)),
            (None, query) => Node::Text(query),
        },
        sent => SummaryKey::of(sent).map_or(Node::Fact(FactKey::Always(false)), |key| Node::Summary(key, None)),
    }
}

fn cheap_first(keys: &[Key], view: &View<'_>) -> Vec<Node> {
    let mut nodes: Vec<_> = keys.iter().map(|key| node(key, view)).collect();
    nodes.sort_by_key(Node::cost);
    nodes
}

impl Node {
    fn verdict(&self, sequence: u32, fact: &Fact, digest: Option<&Digest>) -> Verdict {
        match self {
            Self::Fact(key) => key.matches(sequence, fact).into(),
            Self::Summary(key, _) => digest.map_or(Verdict::Unknown, |digest| key.matches(digest)),
            Self::Text(_) => Verdict::Unknown,
            Self::And(nodes) => join(nodes, Verdict::No, |node| node.verdict(sequence, fact, digest)),
            Self::Or(nodes) => join(nodes, Verdict::Yes, |node| node.verdict(sequence, fact, digest)),
            Self::Not(node) => match node.verdict(sequence, fact, digest) {
                Verdict::Yes => Verdict::No,
                Verdict::No => Verdict::Yes,
                Verdict::Unknown => Verdict::Unknown,
            },
        }
    }

    // 0 facts, 1 summaries, 2 texts.
    fn cost(&self) -> u8 {
        match self {
            Self::Fact(_) => 0,
            Self::Summary(key, _) if key.decides() => 1,
            Self::Summary(..) | Self::Text(_) => 2,
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().map(Self::cost).max().unwrap_or(0),
            Self::Not(node) => node.cost(),
        }
    }

    /// Whether a worker must read a letter for certainty; `unsure`: one whose summary does not have all.
    pub(super) fn needs_text(&self, unsure: bool) -> bool {
        match self {
            Self::Fact(_) => false,
            Self::Summary(key, query) => !key.decides() || (unsure && query.is_some()),
            Self::Text(_) => true,
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().any(|node| node.needs_text(unsure)),
            Self::Not(node) => node.needs_text(unsure),
        }
    }

    fn any(&self, is: &impl Fn(&Self) -> bool) -> bool {
        is(self)
            || match self {
                Self::And(nodes) | Self::Or(nodes) => nodes.iter().any(|node| node.any(is)),
                Self::Not(node) => node.any(is),
                Self::Fact(_) | Self::Summary(..) | Self::Text(_) => false,
            }
    }
}

// `ends` decides at once; one unknown leaves the rest open; otherwise the opposite of `ends`.
fn join(nodes: &[Node], ends: Verdict, verdict: impl Fn(&Node) -> Verdict) -> Verdict {
    let mut unknown = false;
    for node in nodes {
        let one = verdict(node);
        if one == ends {
            return ends;
        }
        unknown |= one == Verdict::Unknown;
    }
    match (unknown, ends) {
        (true, _) => Verdict::Unknown,
        (false, Verdict::No) => Verdict::Yes,
        (false, _) => Verdict::No,
    }
}
