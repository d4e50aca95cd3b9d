// Damage to what the browser keeps.

/** Runs in the page: changes a byte of a kept file's second chunk. */
export async function flipKeptByte(path: string): Promise<void> {
  const settled = <T>(request: IDBRequest<T>) =>
    new Promise<T>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const database = await settled(indexedDB.open("easel"));
  const chunks = () => database.transaction("chunks", "readwrite").objectStore("chunks");
  const keys = await settled(chunks().getAllKeys());
  const key = keys.find((found) => Array.isArray(found) && found[1] === path && found[2] === 1);
  if (!key) throw new Error("no such chunk is kept");
  const record = await settled(chunks().get(key));
  const bytes = new Uint8Array(await record.data.arrayBuffer());
  bytes.set([(bytes[5] ?? 0) ^ 4], 5);
  await settled(chunks().put({ ...record, data: new Blob([bytes]) }, key));
  database.close();
}
