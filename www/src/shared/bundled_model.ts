/** Folder of the model that a site brings along, below its page. */
export const BUNDLED = "models/starter/";
