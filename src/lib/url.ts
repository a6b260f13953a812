// URLs as people may see them, and parts of them. Pure.

/** Fit for a log: without user, password or token. */
export function showUrl(url: string): string {
  return url.replace(/^([a-z0-9+.-]+:\/\/)[^/?#]*@/i, '$1***@');
}

/** Without percent-encoding; what is no escape stands for itself. */
export function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
