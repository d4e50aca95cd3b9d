// The Rust toolchains: the native one, and one that can build for wasm.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cache } from "./cache.mjs";
import { debianPackages } from "./packages.mjs";
import { Failure, output, say } from "./run.mjs";

const TARGET = "wasm32-unknown-unknown";
const OLDEST = [1, 95];
const DEBIAN = {
  cargo: "/usr/bin/cargo",
  rustc: "/usr/bin/rustc",
  source: "/usr/lib/rustlib/src/rust/library",
};

function recentEnough(rustc) {
  const version = output(rustc, ["--version"])?.match(/^rustc (\d+)\.(\d+)/);
  if (!version) return false;
  const [major, minor] = version.slice(1).map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

function debianToolchain() {
  return { cargo: DEBIAN.cargo, env: { RUSTC: DEBIAN.rustc, PATH: `/usr/bin:${process.env.PATH}` } };
}

/** `{cargo, env}` of a toolchain for this machine, in the shared target folder. */
export async function nativeToolchain() {
  const env = { CARGO_TARGET_DIR: join(cache, "target") };
  if (recentEnough("rustc") && output("cargo", ["--version"])) return { cargo: "cargo", env };
  if (!recentEnough(DEBIAN.rustc)) {
    await debianPackages(["rustc-web", "cargo-web"], `Rust ${OLDEST.join(".")} or newer`);
  }
  if (!recentEnough(DEBIAN.rustc)) {
    throw new Failure(
      `Rust ${OLDEST.join(".")} or newer is needed: see https://rustup.rs, then run this again.`,
    );
  }
  const debian = debianToolchain();
  return { cargo: debian.cargo, env: { ...debian.env, ...env } };
}

function rustupTarget() {
  if (!recentEnough("rustc")) return false;
  const installed = () => output("rustup", ["target", "list", "--installed"])?.split("\n").includes(TARGET);
  if (installed()) return true;
  if (output("rustup", ["--version"]) === undefined) return false;
  say(`adding the Rust target ${TARGET}`);
  return output("rustup", ["target", "add", TARGET]) !== undefined && installed();
}

function linker() {
  const bundled = (rustc) => {
    const sysroot = output(rustc, ["--print", "sysroot"]);
    const host = output(rustc, ["-vV"])?.match(/^host: (.*)$/m)?.[1];
    return sysroot && host && join(sysroot, "lib", "rustlib", host, "bin", "rust-lld");
  };
  const places = [
    bundled("rustc"),
    bundled(DEBIAN.rustc),
    output("sh", ["-c", "command -v rust-lld wasm-ld"]),
  ];
  return places.find((path) => path && existsSync(path.split("\n")[0]))?.split("\n")[0];
}

/** Where no target can be downloaded: Debian's compiler builds the standard library from Debian's source of it. */
async function debianWasm() {
  if (!existsSync(DEBIAN.source) || !recentEnough(DEBIAN.rustc)) {
    await debianPackages(
      ["rustc-web", "cargo-web", "rust-web-src"],
      "building for wasm without rustup's target",
    );
  }
  if (!linker()) await debianPackages(["rust-web-llvm"], "linking wasm");
  const debian = debianToolchain();
  return {
    cargo: debian.cargo,
    args: ["--target", TARGET, "-Z", "build-std=std,panic_abort"],
    env: {
      ...debian.env,
      RUSTC_BOOTSTRAP: "1",
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: linker(),
      CARGO_TARGET_DIR: join(cache, "target-wasm"),
    },
    clippyPackage: "rust-web-clippy",
    clippy: "/usr/bin/cargo-clippy",
  };
}

/**
 * `{cargo, args, env}` that build for wasm. `EASEL_WASM_TOOLCHAIN` = `rustup` or `debian` forces one of the two;
 * otherwise rustup's target is used where it is installed or can be.
 */
export async function wasmToolchain() {
  const forced = process.env.EASEL_WASM_TOOLCHAIN;
  if (forced !== "debian" && rustupTarget()) {
    return {
      cargo: "cargo",
      args: ["--target", TARGET],
      env: { CARGO_TARGET_DIR: join(cache, "target-wasm") },
    };
  }
  if (forced === "rustup")
    throw new Failure(`\`rustup target add ${TARGET}\` failed: is the network reachable?`);
  return debianWasm();
}

/** Makes sure that `cargo clippy` works for a toolchain. */
export async function clippyFor(toolchain) {
  if (toolchain.clippy) {
    if (!existsSync(toolchain.clippy)) await debianPackages([toolchain.clippyPackage], "the lints");
  } else if (output(toolchain.cargo, ["clippy", "--version"], { env: toolchain.env }) === undefined) {
    await component("clippy", ["rust-web-clippy"]);
  }
}

/** Makes sure that `cargo fmt` works. */
export async function rustfmt(toolchain) {
  if (output(toolchain.cargo, ["fmt", "--version"], { env: toolchain.env }) === undefined) {
    await component("rustfmt", ["rustfmt-web"]);
  }
}

async function component(name, packages) {
  if (output("rustup", ["--version"]) === undefined) return debianPackages(packages, `cargo ${name}`);
  say(`adding the Rust component ${name}`);
  if (output("rustup", ["component", "add", name]) === undefined) {
    throw new Failure(`\`rustup component add ${name}\` failed: is the network reachable?`);
  }
}
