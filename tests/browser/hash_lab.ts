// The worker that hashes for the lab, with the engine itself.
import init, { FileHash } from "../../www/pkg/easel.js";
import { serveHash } from "../../www/src/worker/hash_worker.ts";

serveHash(async (saved) => {
  await init();
  return FileHash.create(saved && new Uint8Array(saved));
});
