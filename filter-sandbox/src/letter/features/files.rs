//! Attached files: kinds that carry programs, and names that hide them.

use super::Found;
use crate::letter::{
    Letter,
    decode::{Bytes, Transfer},
    walk::{Node, Shape},
    words,
};

/// Names that Windows, macOS or Android run when opened.
const PROGRAMS: [&str; 34] = [
    "exe",
    "scr",
    "com",
    "pif",
    "bat",
    "cmd",
    "msi",
    "msp",
    "cpl",
    "jar",
    "js",
    "jse",
    "vbs",
    "vbe",
    "wsf",
    "wsh",
    "ws",
    "ps1",
    "hta",
    "lnk",
    "url",
    "reg",
    "scf",
    "chm",
    "dll",
    "apk",
    "app",
    "dmg",
    "pkg",
    "gadget",
    "appx",
    "application",
    "sct",
    "library-ms",
];
/// Office documents that hold macros.
const MACROS: [&str; 12] =
    ["docm", "dotm", "xlsm", "xltm", "xlsb", "xlam", "xll", "pptm", "potm", "ppsm", "ppam", "one"];
/// Disk images, which shed the mark that a file came from outside.
const IMAGES: [&str; 6] = ["iso", "img", "vhd", "vhdx", "udf", "cab"];
const ARCHIVES: [&str; 11] = ["zip", "rar", "7z", "ace", "arj", "tar", "gz", "tgz", "xz", "bz2", "lzh"];
const PAGES: [&str; 5] = ["html", "htm", "shtml", "xhtml", "svg"];
/// Names people take for harmless; before a program's, they are there to be seen instead of it.
const HARMLESS: [&str; 18] = [
    "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "txt", "rtf", "jpg", "jpeg", "png", "gif", "mp3", "mp4", "csv",
    "htm", "html",
];

pub(super) fn note(letter: &Letter<'_>, found: &mut Found) {
    let mut counts = Counts::default();
    for node in letter.walked.nodes.iter().filter(|node| matches!(node.shape, Shape::Leaf)) {
        counts.images += usize::from(node.mime.is_kind(b"image"));
        if let Some(name) = file_name(node) {
            counts.name(&name);
        }
        if !node.mime.is_kind(b"text") {
            counts.programs += usize::from(begins_as_program(letter.message, node));
        }
    }
    found.count("IMAGES", counts.images);
    found.count("FILE_PROGRAM", counts.programs);
    found.count("FILE_DOUBLE_EXTENSION", counts.double);
    found.count("FILE_MACROS", counts.macros);
    found.count("FILE_DISK_IMAGE", counts.disk_images);
    found.count("FILE_ARCHIVE", counts.archives);
    found.count("FILE_PAGE", counts.pages);
    found.count("FILE_NAME_REVERSED", counts.reversed);
}

#[derive(Default)]
struct Counts {
    images: usize,
    programs: usize,
    double: usize,
    macros: usize,
    disk_images: usize,
    archives: usize,
    pages: usize,
    reversed: usize,
}

impl Counts {
    fn name(&mut self, name: &str) {
        // U+202E makes `gpj.exe` read as `exe.jpg`.
        self.reversed += usize::from(name.contains(['\u{202e}', '\u{2067}']));
        let mut endings = name.trim_end_matches(['.', ' ']).rsplit('.').map(|ending| ending.trim().to_lowercase());
        let (Some(last), Some(before)) = (endings.next(), endings.next()) else { return };
        let is_in = |list: &[&str]| usize::from(list.contains(&last.as_str()));
        let program = is_in(&PROGRAMS);
        self.programs += program;
        self.double += if HARMLESS.contains(&before.as_str()) && endings.next().is_some() { program } else { 0 };
        self.macros += is_in(&MACROS);
        self.disk_images += is_in(&IMAGES);
        self.archives += is_in(&ARCHIVES);
        self.pages += is_in(&PAGES);
    }
}

/// RFC 2183 `filename`, else the older `name` of the content type.
fn file_name(node: &Node) -> Option<String> {
    let disposition = node.mime.disposition.as_ref().and_then(|(_, list)| words::parameter(list, "filename"));
    disposition.or_else(|| words::parameter(&node.mime.parameters, "name"))
}

/// Whether the file begins as a Windows or Linux program does, whatever it is called.
fn begins_as_program(message: &[u8], node: &Node) -> bool {
    let raw = &message[node.body.clone()];
    let mut start = Vec::new();
    Bytes::new(&raw[..raw.len().min(512)], Transfer::of(&node.mime)).next(&mut start);
    let dos = start.starts_with(b"MZ") && start.get(0x3c..0x40).is_some_and(|offset| offset[2..] == [0, 0]);
    dos || start.starts_with(b"\x7fELF")
}
