//! Runs of the `easel` command in a folder of their own.
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens");

/// What a run left.
pub(crate) struct Output {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Output {
    /// Standard output of a run that must have succeeded.
    pub(crate) fn success(self) -> String {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Standard error of a run that must have succeeded.
    #[allow(dead_code, reason = "not every test reads it")]
    pub(crate) fn warnings(self) -> String {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        self.stderr
    }

    /// The run must have failed with one line that has the code and the names.
    pub(crate) fn failure(self, code: &str, names: &[&str]) {
        let Self { status, stdout, stderr } = self;
        assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with(&format!("error[{code}]: ")), "{stderr}");
        for name in names {
            assert!(stderr.contains(name), "{name} in: {stderr}");
        }
    }
}

/// Runs `easel` with `arguments`.
pub(crate) fn run(arguments: &[&str]) -> Output {
    run_with_token(arguments, "")
}

/// Runs `easel` with `arguments` and the access token of a hub in its environment.
pub(crate) fn run_with_token(arguments: &[&str], token: &str) -> Output {
    run_with(arguments, &[("HF_TOKEN", token)])
}

/// Runs `easel` with `arguments` and variables of the environment.
pub(crate) fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_easel"));
    let output = command.args(arguments).envs(variables.iter().copied()).output().expect("easel starts");
    Output {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A folder with a model to run, removed with this value.
pub(crate) struct Easel {
    folder: PathBuf,
}

impl Easel {
    /// A new folder `name` with a copy of a golden model; `name` differs from test to test.
    pub(crate) fn with_model(name: &str, model: &str) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("easel-{}-{name}", std::process::id()));
        copy(&Path::new(GOLDENS).join("models").join(model), &folder.join("model"));
        Self { folder }
    }

    /// A path in the folder; the model is in `model`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Names of what is in the folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).expect("the folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Runs `easel generate`, two steps to `out.png` on the CPU but for what `changes` says; an empty value makes a
    /// switch.
    pub(crate) fn generate(&self, changes: &[(&str, &str)]) -> Output {
        let (model, out) = (self.path("model"), self.path("out.png"));
        let (model, out) = (model.to_string_lossy(), out.to_string_lossy());
        let mut options = BTreeMap::from([
            ("--model", model.as_ref()),
            ("--out", out.as_ref()),
            ("--prompt", "a red fox"),
            ("--steps", "2"),
            ("--seed", "5"),
            ("--sampler", "ddim"),
            ("--device", "cpu"),
        ]);
        options.extend(changes.iter().copied());
        let mut arguments = vec!["generate".to_owned()];
        for (option, value) in options {
            arguments.push(if value.is_empty() { option.to_owned() } else { format!("{option}={value}") });
        }
        run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl Drop for Easel {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder to test in");
    for entry in fs::read_dir(from).expect("a golden model") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}
