//! From the parts found to the tree a report carries.

use super::{
    envelope::envelope,
    texts::Texts,
    walk::{Node, Shape},
};
use crate::report::{Enclosed, Inside, Part, Span};
use std::ops::Range;

/// The part `id` with everything inside it. The walk has bounded the depth; `None` only for a bad index.
pub(super) fn part(message: &[u8], nodes: &mut [Node], id: usize, texts: &mut Texts) -> Option<Part> {
    let node = nodes.get_mut(id)?;
    let shape = std::mem::replace(&mut node.shape, Shape::Leaf);
    let inside = match &shape {
        Shape::Leaf => Inside::Leaf,
        Shape::Parts(children) => {
            let parts = children.iter().map(|child| part(message, nodes, *child, texts));
            Inside::Parts(parts.collect::<Option<Vec<Part>>>()?)
        }
        Shape::Message(root) => Inside::Message(Box::new(enclosed(message, nodes, *root, texts)?)),
    };
    let node = nodes.get_mut(id)?;
    node.shape = shape;
    let mime = node.mime.clone();
    Some(Part {
        header: span(&node.header)?,
        body: span(&node.body)?,
        lines: u32::try_from(node.lines).ok()?,
        kind: mime.kind,
        subtype: mime.subtype,
        parameters: mime.parameters,
        id: mime.id,
        description: mime.description,
        encoding: mime.encoding,
        md5: mime.md5,
        disposition: mime.disposition,
        language: mime.language,
        location: mime.location,
        inside,
    })
}

fn enclosed(message: &[u8], nodes: &mut [Node], root: usize, texts: &mut Texts) -> Option<Enclosed> {
    let fields = nodes.get(root)?.fields.clone();
    Some(Enclosed { envelope: envelope(message, &fields, texts), root: part(message, nodes, root, texts)?, fields })
}

fn span(range: &Range<usize>) -> Option<Span> {
    Some(Span { start: u32::try_from(range.start).ok()?, end: u32::try_from(range.end).ok()? })
}
