// The worker that hashes for the lab, with the engine itself.
import init, { FileHash } from "../../www/pkg/easel.js";
import { serveHash } from "../../www/src/worker/hash_worker.ts";

serveHash(async (saved) => {
  await init();
  const hash = FileHash.create(saved && new Uint8Array(saved));
  return self.name === "slow" && hash ? slowed(hash) : hash;
});

/** A hash that is always behind, as on a busy machine. */
function slowed(hash: FileHash): FileHash {
  const update = hash.update.bind(hash);
  hash.update = (bytes) => {
    const end = performance.now() + 50;
    while (performance.now() < end);
    update(bytes);
  };
  return hash;
}
