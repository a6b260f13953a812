// URLs as people may see them. Pure.

/** Fit for a log: without user, password or token. */
export function showUrl(url: string): string {
  return url.replace(/^([a-z0-9+.-]+:\/\/)[^/?#]*@/i, '$1***@');
}
