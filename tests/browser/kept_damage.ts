// Damage to what the browser keeps.

/** Runs in the page: changes a byte of a kept file's second chunk, or of its only one. */
export async function flipKeptByte(path: string): Promise<void> {
  const settled = <T>(request: IDBRequest<T>) =>
    new Promise<T>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const hashed = async (text: string) => {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };
  const database = await settled(indexedDB.open("easel"));
  const keys = await settled(database.transaction("chunks").objectStore("chunks").getAllKeys());
  database.close();
  const ofFile = keys.filter((found) => Array.isArray(found) && found[1] === path) as [
    string,
    string,
    number,
  ][];
  const key = ofFile.find(([, , index]) => index === 1) ?? ofFile[0];
  if (!key) throw new Error("no such chunk is kept");
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("easel chunks");
  const name = `${await hashed(key[0])}.${await hashed(path)}.${key[2]}`;
  const file = await folder.getFileHandle(name);
  const bytes = new Uint8Array(await (await file.getFile()).arrayBuffer());
  bytes.set([(bytes[5] ?? 0) ^ 4], 5);
  const writing = await file.createWritable();
  await writing.write(bytes);
  await writing.close();
}
