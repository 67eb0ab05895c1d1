//! A clock that can be set ahead: for what a house does only hours and days later.
//!
//! A copy of the server that asks a library of the test's for the time. Its roles have no environment and no files, so it is
//! loaded as they begin, like the C library itself; everything else is the server as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house;

const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static int (*real)(clockid_t, struct timespec *);
__attribute__((constructor)) static void find(void) { real = dlsym(RTLD_NEXT, "clock_gettime"); }
int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real) find();
    int result = real(clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += AHEAD;
    return result;
}
time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
"#;

/// The copy and its clock.
#[derive(Debug)]
pub struct Clock {
    folder: PathBuf,
}

impl Clock {
    /// Makes the copy in `folder`; its clock is right.
    #[must_use]
    pub fn make(folder: &Path) -> Self {
        let this = Self { folder: folder.to_owned() };
        std::fs::copy(house::binary(), this.binary()).unwrap();
        this.set(0);
        let output = Command::new("patchelf").arg("--add-needed").arg(this.library()).arg(this.binary()).output();
        let output = output.expect("patchelf, of Debian's package of that name");
        assert!(output.status.success(), "{output:?}");
        this
    }

    /// The server with this clock.
    #[must_use]
    pub fn binary(&self) -> PathBuf {
        self.folder.join("postern")
    }

    /// Sets it that many seconds ahead of the right time, for those that begin from now on.
    pub fn set(&self, ahead: i64) {
        let (source, fresh) = (self.folder.join("clock.c"), self.folder.join("clock.fresh"));
        std::fs::write(&source, LIBRARY).unwrap();
        let mut compiler = Command::new("gcc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&fresh).arg(format!("-DAHEAD={ahead}LL")).arg(&source);
        let output = compiler.output().expect("gcc");
        assert!(output.status.success(), "{output:?}");
        // Renamed: who runs has the old one mapped.
        std::fs::rename(fresh, self.library()).unwrap();
    }

    fn library(&self) -> PathBuf {
        self.folder.join("clock.so")
    }
}
