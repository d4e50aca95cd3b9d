// Child processes, and the lines that say what is being done.
import { spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Root of the checkout. */
export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/[\\/]$/, "");

/** A failure whose message already tells the reader what to do. */
export class Failure extends Error {}

/** Says in one line what happens next. */
export function say(line) {
  process.stdout.write(`easel: ${line}\n`);
}

/** Runs a command with our own output; throws a `Failure` with `hint` when it fails. */
export function run(command, args, { env = {}, cwd = root, hint } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: "inherit" });
    child.on("error", (error) =>
      reject(new Failure(`${command} did not start (${error.message}). ${hint ?? ""}`)),
    );
    child.on("exit", (code, signal) => {
      if (code === 0) resolve();
      else
        reject(
          new Failure(`\`${[command, ...args].join(" ")}\` ended with ${signal ?? code}. ${hint ?? ""}`),
        );
    });
  });
}

/** Runs a command, shows its output and returns it: `{passed, text}`. */
export function tee(command, args, { env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const stdio = ["inherit", "pipe", "inherit"];
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (data) => {
      process.stdout.write(data);
      text += data;
    });
    child.on("error", (error) => reject(new Failure(`${command} did not start (${error.message}).`)));
    child.on("close", (code) => resolve({ passed: code === 0, text }));
  });
}

/** Standard output of a command, trimmed; `undefined` when it fails or does not exist. `loud` shows its messages. */
export function output(command, args, { env = {}, loud = false } = {}) {
  const stdio = ["ignore", "pipe", loud ? "inherit" : "ignore"];
  const options = { cwd: root, env: { ...process.env, ...env }, encoding: "utf8", stdio, maxBuffer: 1 << 28 };
  const done = spawnSync(command, args, options);
  return done.status === 0 ? done.stdout.trim() : undefined;
}

const OLDEST_NODE = [20, 19];

function requireNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new Failure(`Node ${OLDEST_NODE.join(".")} or newer is needed; this is ${process.versions.node}.`);
}

/** Runs a script's main function and turns failures into one line and an exit status. */
export async function script(main) {
  try {
    requireNode();
    await main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`easel: ${error instanceof Failure ? error.message : error.stack}\n`);
    process.exitCode = 1;
  }
}
