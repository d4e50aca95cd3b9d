// Written so that bundlers see three files to take along. Each is complete in itself.
export const workerUrl = new URL("./worker.js", import.meta.url);
export const wasmUrl = new URL("./easel_bg.wasm", import.meta.url);
export const mergesUrl = new URL("./merges.txt", import.meta.url);
