//! Reading and writing fields of our formats: little-endian, bounded, never panicking.

/// The input ended before the field did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut;

/// What is left of an input.
pub(crate) struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Cut> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Cut> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Cut)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Cut> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Cut> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Cut> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Cut> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Cut> {
        self.array().map(i64::from_le_bytes)
    }

    /// A run of bytes that a `u16` in front of it counts.
    pub(crate) fn counted(&mut self) -> Result<&'a [u8], Cut> {
        let count = self.u16()?;
        self.bytes(usize::from(count))
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a run of bytes with its length as a `u16` in front; false (and nothing appended) when it is longer than that.
pub(crate) fn put_counted(out: &mut Vec<u8>, run: &[u8]) -> bool {
    let Ok(count) = u16::try_from(run.len()) else { return false };
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(run);
    true
}
