//! FETCH's items, from the codec's names to ours (RFC 3501 §6.4.5).

use std::num::NonZeroU32;

use imap_codec::imap_types::core::AString;
use imap_codec::imap_types::fetch::{MacroOrMessageDataItemNames, MessageDataItemName, Part, Section as CodecSection};

use super::cursor::Parsed;
use super::{Fault, codec};
use crate::command::{Form, Item, Section, SectionItem, SectionText};
use crate::limits;

/// All of one FETCH; a macro is spelt out.
pub fn items(names: MacroOrMessageDataItemNames<'_>) -> Parsed<Vec<Item>> {
    let names = match &names {
        MacroOrMessageDataItemNames::Macro(names) => names.expand(),
        MacroOrMessageDataItemNames::MessageDataItemNames(names) => names.clone(),
    };
    if names.is_empty() {
        return Err(Fault::Syntax("FETCH asks for nothing"));
    }
    if names.len() > limits::FETCH_ITEMS {
        return Err(Fault::TooMuch("Too many FETCH items"));
    }
    let mut items = Vec::with_capacity(names.len());
    for name in names {
        let item = item(name)?;
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Ok(items)
}

fn item(name: MessageDataItemName<'_>) -> Parsed<Item> {
    Ok(match name {
        MessageDataItemName::Uid => Item::Uid,
        MessageDataItemName::Flags => Item::Flags,
        MessageDataItemName::InternalDate => Item::InternalDate,
        MessageDataItemName::Rfc822Size => Item::Size,
        MessageDataItemName::Envelope => Item::Envelope,
        MessageDataItemName::Body => Item::Body,
        MessageDataItemName::BodyStructure => Item::BodyStructure,
        MessageDataItemName::BodyExt { section, partial, peek } => Item::Section(SectionItem {
            section: convert(section)?,
            partial: partial.map(|(start, length)| (start, length.get())),
            peek,
            form: Form::Body,
        }),
        MessageDataItemName::Rfc822 => whole(SectionText::Whole, false, Form::Rfc822),
        // RFC 3501 §6.4.5: RFC822.HEADER is BODY.PEEK[HEADER], RFC822.TEXT is BODY[TEXT].
        MessageDataItemName::Rfc822Header => whole(SectionText::Header, true, Form::Rfc822Header),
        MessageDataItemName::Rfc822Text => whole(SectionText::Text, false, Form::Rfc822Text),
        MessageDataItemName::Binary { .. } | MessageDataItemName::BinarySize { .. } => {
            return Err(Fault::Syntax("BINARY is not offered here"));
        }
    })
}

const fn whole(text: SectionText, peek: bool, form: Form) -> Item {
    Item::Section(SectionItem { section: Section { part: Vec::new(), text }, partial: None, peek, form })
}

fn convert(section: Option<CodecSection<'_>>) -> Parsed<Section> {
    let (part, text) = match section {
        None => (None, SectionText::Whole),
        Some(CodecSection::Part(part)) => (Some(part), SectionText::Whole),
        Some(CodecSection::Header(part)) => (part, SectionText::Header),
        Some(CodecSection::Text(part)) => (part, SectionText::Text),
        Some(CodecSection::Mime(part)) => (Some(part), SectionText::Mime),
        Some(CodecSection::HeaderFields(part, names)) => (part, fields(names.as_ref(), false)?),
        Some(CodecSection::HeaderFieldsNot(part, names)) => (part, fields(names.as_ref(), true)?),
    };
    Ok(Section { part: part.map(|part| numbers(&part)).transpose()?.unwrap_or_default(), text })
}

fn fields(names: &[AString<'_>], not: bool) -> Parsed<SectionText> {
    if names.len() > limits::FIELD_NAMES {
        return Err(Fault::TooMuch("Too many field names"));
    }
    Ok(SectionText::Fields { names: names.iter().map(codec::field_name).collect::<Parsed<_>>()?, not })
}

fn numbers(part: &Part) -> Parsed<Vec<u32>> {
    let numbers = part.0.as_ref();
    if numbers.len() > limits::PART_DEPTH {
        return Err(Fault::TooMuch("No letter is nested this deep"));
    }
    Ok(numbers.iter().copied().map(NonZeroU32::get).collect())
}
