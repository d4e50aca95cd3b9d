// Where a build of the page may fetch models from, as its environment says.

const HUB = "https://huggingface.co";
/** The hub's files are on hosts below these. */
const HUB_STORAGE = ["https://*.huggingface.co", "https://*.hf.co"];

/**
 * `{hub, modelBaseUrl, hosts}` of `EASEL_HUB` (what `owner/name` means), `EASEL_MODEL_BASE_URL` (a folder in its place)
 * and `EASEL_MODEL_HOSTS` (further sources for connect-src, separated by spaces; `https:` is any host).
 */
export function modelPlaces(env) {
  const more = (env.EASEL_MODEL_HOSTS ?? "").split(" ").filter(Boolean);
  const modelBaseUrl = env.EASEL_MODEL_BASE_URL ?? "";
  const hub = env.EASEL_HUB || HUB;
  return { hub, modelBaseUrl, hosts: [...new Set([...ownHosts(hub, modelBaseUrl), ...more])] };
}

function ownHosts(hub, modelBaseUrl) {
  // With a folder of models of its own, a site needs no other.
  if (modelBaseUrl) return URL.canParse(modelBaseUrl) ? [new URL(modelBaseUrl).origin] : [];
  const { origin } = new URL(hub);
  return origin === HUB ? [HUB, ...HUB_STORAGE] : [origin];
}
