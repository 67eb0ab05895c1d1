//! What is left for a worker: texts, and one bit for everything that is known without it.

use filter_sandbox::report::Query;

use super::Place;
use super::plan::{Node, TooComplicated};
use super::summary::SummaryKey;
use crate::limits;

/// What a worker evaluates for a text in this place.
pub(super) fn text(place: &Place, text: &str) -> Query {
    let header = |name: &str| Query::Header(name.to_owned(), text.to_owned());
    match place {
        Place::Header(name) => header(name),
        Place::Subject => header("Subject"),
        Place::From => header("From"),
        Place::To => header("To"),
        Place::Cc => header("Cc"),
        Place::Bcc => header("Bcc"),
        Place::Body => Query::Body(text.to_owned()),
        Place::Text => Query::Text(text.to_owned()),
    }
}

/// The query, if texts may have to be read, and what its bits stand for. Of most letters the summary is the last word on
/// the fields it has; where it is unsure of them, the letter is.
pub(super) fn compile(root: &Node) -> Result<(Option<Query>, Vec<Node>), TooComplicated> {
    let mut known = Vec::new();
    let sure = root.needs_text(false).then(|| query(root, false, &mut known)).transpose()?;
    let unsure = root.needs_text(true).then(|| query(root, true, &mut known)).transpose()?;
    let query = match (sure, unsure) {
        (Some(sure), Some(unsure)) if sure != unsure => {
            let which = bit(Node::Summary(SummaryKey::Unsure, None), &mut known)?;
            let otherwise = Query::Not(Box::new(which.clone()));
            Some(Query::Or(vec![Query::And(vec![which, unsure]), Query::And(vec![otherwise, sure])]))
        }
        (sure, unsure) => unsure.or(sure),
    };
    Ok((query, known))
}

fn query(node: &Node, unsure: bool, known: &mut Vec<Node>) -> Result<Query, TooComplicated> {
    if !node.needs_text(unsure) {
        return bit(node.clone(), known);
    }
    Ok(match node {
        Node::Summary(_, Some(query)) | Node::Text(query) => query.clone(),
        Node::And(nodes) => Query::And(group(nodes, unsure, known, Node::And)?),
        Node::Or(nodes) => Query::Or(group(nodes, unsure, known, Node::Or)?),
        Node::Not(node) => Query::Not(Box::new(query(node, unsure, known)?)),
        Node::Fact(_) | Node::Summary(_, None) => return bit(node.clone(), known),
    })
}

// All that needs no text becomes one bit, and comes first: a worker stops at it.
fn group(
    nodes: &[Node],
    unsure: bool,
    known: &mut Vec<Node>,
    join: fn(Vec<Node>) -> Node,
) -> Result<Vec<Query>, TooComplicated> {
    let (texts, cheap): (Vec<&Node>, Vec<&Node>) = nodes.iter().partition(|node| node.needs_text(unsure));
    let mut queries = Vec::with_capacity(texts.len() + 1);
    if !cheap.is_empty() {
        queries.push(bit(join(cheap.into_iter().cloned().collect()), known)?);
    }
    for node in texts {
        queries.push(query(node, unsure, known)?);
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
