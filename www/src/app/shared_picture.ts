import { takeSharedPicture } from "../shared/shared_picture.ts";

/**
 * Gives the picture that another app shared with this page, if there is one, to `use`. The service worker has kept it: the
 * manifest's `share_target` sends it there before the page is open.
 */
export async function receiveSharedPicture(use: (picture: File) => void): Promise<void> {
  // Without storage nothing can have been kept.
  const picture = await takeSharedPicture(new URL("./", document.baseURI).href).catch(() => undefined);
  if (picture) use(picture);
}
