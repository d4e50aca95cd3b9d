/** Folder of the model that a site brings along, below its page. */
export const BUNDLED = "models/starter/";

/** Its scheduler's config says nothing of guidance; pictures are best with this. */
export const BUNDLED_GUIDANCE = 4;
