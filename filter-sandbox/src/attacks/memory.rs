//! Memory, descriptors and the message: rows 30 to 36, 47, 51, 52, 55, 66, 67.

use super::{Victim, attempt, text};
use crate::calls::MMAP;

pub(super) fn run_from_memory(_: &Victim) -> Result<(), i32> {
    let file = attempt!(libc::SYS_memfd_create, c"code".as_ptr(), libc::MFD_CLOEXEC)?;
    let code = b"#!/bin/true\n";
    attempt!(libc::SYS_write, file, code.as_ptr(), code.len())?;
    let none = std::ptr::null::<u8>();
    attempt!(libc::SYS_execveat, file, c"".as_ptr(), none, none, libc::AT_EMPTY_PATH).map(drop)
}

fn map(length: usize, protection: i32, flags: i32, file: i32) -> Result<(), i32> {
    attempt!(MMAP, std::ptr::null::<u8>(), length, protection, flags, file, 0).map(drop)
}

pub(super) fn memory_bomb(_: &Victim) -> Result<(), i32> {
    map(1 << 30, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
}

pub(super) fn new_code(_: &Victim) -> Result<(), i32> {
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    map(4096, all, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
}

pub(super) fn many_descriptors(_: &Victim) -> Result<(), i32> {
    for _ in 0..10_000 {
        attempt!(libc::SYS_dup, 1)?;
    }
    Ok(())
}

pub(super) fn segment(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_shmget, libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600).map(drop)
}

pub(super) fn queue(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_msgget, libc::IPC_PRIVATE, libc::IPC_CREAT | 0o600).map(drop)
}

pub(super) fn foreign_segment(victim: &Victim) -> Result<(), i32> {
    let segment = attempt!(libc::SYS_shmget, victim.segment, 0, 0)?;
    attempt!(libc::SYS_shmat, segment, std::ptr::null::<u8>(), libc::SHM_RDONLY).map(drop)
}

pub(super) fn posix_queue(_: &Victim) -> Result<(), i32> {
    let (name, none) = (text("queue"), std::ptr::null::<u8>());
    attempt!(libc::SYS_mq_open, name.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600, none).map(drop)
}

pub(super) fn write_message(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_write, 0, b"x".as_ptr(), 1).map(drop)
}

pub(super) fn map_message(_: &Victim) -> Result<(), i32> {
    map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, 0)
}

pub(super) fn cut_message(_: &Victim) -> Result<(), i32> {
    attempt!(libc::SYS_ftruncate, 0, 1 << 20).map(drop)
}

pub(super) fn gift_pages(_: &Victim) -> Result<(), i32> {
    let mut ends = [0i32; 2];
    attempt!(libc::SYS_pipe2, ends.as_mut_ptr(), 0)?;
    let mut page = [0u8; 16];
    let given = libc::iovec { iov_base: page.as_mut_ptr().cast(), iov_len: page.len() };
    attempt!(libc::SYS_vmsplice, ends[1], &raw const given, 1, 0).map(drop)
}

pub(super) fn lock_memory(_: &Victim) -> Result<(), i32> {
    let byte = 0u8;
    attempt!(libc::SYS_mlock, &raw const byte, 1).map(drop)
}

pub(super) fn spin(_: &Victim) -> Result<(), i32> {
    loop {
        std::hint::spin_loop();
    }
}

pub(super) fn recurse(victim: &Victim) -> Result<(), i32> {
    if victim.process == i32::MIN {
        return Ok(());
    }
    let room = std::hint::black_box([0u8; 1024]);
    recurse(victim)?;
    if std::hint::black_box(room)[0] == 0 { Ok(()) } else { Err(libc::EIO) }
}

pub(super) fn write_to_nobody(_: &Victim) -> Result<(), i32> {
    // Until its client has let go: the socket takes some bytes. What it had not read makes one write a reset.
    loop {
        match attempt!(libc::SYS_write, 1, [0u8; 4096].as_ptr(), 4096) {
            Ok(_) | Err(libc::ECONNRESET) => {}
            Err(error) => return Err(error),
        }
    }
}
