//! Generated protobuf code: made by protox and tonic-prost-build, committed, and held fresh by a test. No protoc.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// One generated file.
struct Target {
    /// The `.proto`, relative to the workspace.
    proto: &'static str,
    /// Where the code goes, relative to the workspace.
    out: &'static str,
    /// What the code holds.
    part: Part,
}

enum Part {
    Messages,
    Client { messages: (&'static str, &'static str) },
    Server { messages: (&'static str, &'static str) },
    Everything,
}

const CONTROL: (&str, &str) = (".fuseboard.control.v1", "::fuseboard_policy::wire::v1");

const TARGETS: &[Target] = &[
    Target {
        proto: "agent/policy/proto/control.proto",
        out: "agent/policy/src/generated/control.rs",
        part: Part::Messages,
    },
    Target {
        proto: "agent/policy/proto/control.proto",
        out: "agent/src/generated/control.rs",
        part: Part::Client { messages: CONTROL },
    },
    Target {
        proto: "agent/policy/proto/control.proto",
        out: "collector/src/generated/control.rs",
        part: Part::Server { messages: CONTROL },
    },
    Target { proto: "agent/demo/proto/shop.proto", out: "agent/demo/src/generated/shop.rs", part: Part::Everything },
];

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Generates everything. With `write` the files are written; without, the names of stale ones are returned.
///
/// # Errors
/// A `.proto` that does not compile, or a file that cannot be read or written.
pub fn generate(write: bool) -> Result<Vec<&'static str>> {
    let mut stale = Vec::new();
    for target in TARGETS {
        let code = code_of(target).with_context(|| format!("generating {}", target.out))?;
        let path = root().join(target.out);
        if std::fs::read_to_string(&path).ok().as_deref() != Some(code.as_str()) {
            stale.push(target.out);
            if write {
                std::fs::write(&path, code).with_context(|| format!("writing {}", path.display()))?;
            }
        }
    }
    Ok(stale)
}

fn code_of(target: &Target) -> Result<String> {
    let proto = root().join(target.proto);
    let folder = proto.parent().context("a proto lies in a folder")?;
    let files = protox::compile([&proto], [folder])?;
    let out = tempfile::tempdir()?;
    let builder = tonic_prost_build::configure().out_dir(out.path()).emit_rerun_if_changed(false);
    let builder = match &target.part {
        Part::Messages => builder.build_client(false).build_server(false),
        Part::Client { messages } => builder.build_server(false).extern_path(messages.0, messages.1),
        Part::Server { messages } => builder.build_client(false).extern_path(messages.0, messages.1),
        Part::Everything => builder,
    };
    builder.compile_fds(files)?;
    let mut made: Vec<PathBuf> = std::fs::read_dir(out.path())?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    match (made.pop(), made.pop()) {
        (Some(file), None) => Ok(std::fs::read_to_string(file)?),
        (file, more) => bail!("expected one generated file, got {file:?} {more:?}"),
    }
}
