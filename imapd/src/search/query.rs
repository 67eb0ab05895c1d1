//! What is left for a worker: texts, and one bit for everything that is known without it.

use filter_sandbox::report::Query;

use super::Place;
use super::plan::{Node, TooComplicated};
use crate::limits;

/// What a worker evaluates for a text in this place; `None` when no worker is ever needed for it.
pub(super) fn text(place: &Place, text: &str) -> Option<Query> {
    Some(match place {
        Place::Header(name) => Query::Header(name.clone(), text.to_owned()),
        Place::Body => Query::Body(text.to_owned()),
        Place::Text => Query::Text(text.to_owned()),
        Place::Subject | Place::From | Place::To | Place::Cc | Place::Bcc => return None,
    })
}

/// The query, if texts must be read, and what its bits stand for.
pub(super) fn compile(root: &Node) -> Result<(Option<Query>, Vec<Node>), TooComplicated> {
    if !root.needs_text() {
        return Ok((None, Vec::new()));
    }
    let mut known = Vec::new();
    let query = query(root, &mut known)?;
    Ok((Some(query), known))
}

fn query(node: &Node, known: &mut Vec<Node>) -> Result<Query, TooComplicated> {
    if !node.needs_text() {
        return bit(node.clone(), known);
    }
    Ok(match node {
        Node::Summary(_, Some(query)) | Node::Text(query) => query.clone(),
        Node::And(nodes) => Query::And(group(nodes, known, Node::And)?),
        Node::Or(nodes) => Query::Or(group(nodes, known, Node::Or)?),
        Node::Not(node) => Query::Not(Box::new(query(node, known)?)),
        Node::Fact(_) | Node::Summary(_, None) => return bit(node.clone(), known),
    })
}

// All that needs no text becomes one bit, and comes first: a worker stops at it.
fn group(nodes: &[Node], known: &mut Vec<Node>, join: fn(Vec<Node>) -> Node) -> Result<Vec<Query>, TooComplicated> {
    let (texts, cheap): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| node.needs_text());
    let mut queries = Vec::with_capacity(texts.len() + 1);
    if !cheap.is_empty() {
        queries.push(bit(join(cheap.into_iter().cloned().collect()), known)?);
    }
    for node in texts {
        queries.push(query(node, known)?);
    }
    Ok(queries)
}

fn bit(node: Node, known: &mut Vec<Node>) -> Result<Query, TooComplicated> {
    let at = known.iter().position(|other| *other == node).unwrap_or_else(|| {
        known.push(node);
        known.len() - 1
    });
    if at >= limits::KNOWN {
        return Err(TooComplicated);
    }
    u8::try_from(at).map(Query::Known).map_err(|_| TooComplicated)
}
