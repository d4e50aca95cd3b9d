// Where the engine's files are in the built site. The npm package has a file of its own in this one's place, whose
// addresses the bundlers of other sites understand.
export { default as workerUrl } from "../worker/worker.ts?worker&url";

/** The site's worker knows where these are. */
export const wasmUrl: URL | undefined = undefined;
export const mergesUrl: URL | undefined = undefined;
