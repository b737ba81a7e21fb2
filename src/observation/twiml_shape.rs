//! The elements of a TwiML document, with the shapes of their attributes. Their texts are left out.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::{Element, Member};

/// The largest number of elements that are described.
const MAX_ELEMENTS: usize = 200;

/// Describes the elements of a document, up to what is not XML.
pub(super) fn elements(document: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(document);
    let mut found = Vec::new();
    while found.len() < MAX_ELEMENTS {
        match reader.read_event() {
            Ok(Event::Start(start) | Event::Empty(start)) => found.push(describe(&start)),
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    found
}

fn describe(start: &BytesStart<'_>) -> Element {
    let attributes = start.attributes().filter_map(Result::ok).map(|attribute| {
        let value = attribute.value.as_ref();
        Member::of_text(attribute.key.as_ref(), &quick_xml::escape::unescape(value).unwrap_or_default())
    });
    Element { name: Member::of_text(start.name().as_ref(), "").name, attributes: attributes.collect() }
}
