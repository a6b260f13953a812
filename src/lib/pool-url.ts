// The URLs of pools that no library reads: etcd's with several members, names in DNS, Kubernetes. What config/ accepts is what
// pools/ can use. Pure.

export interface EtcdUrl {
  /** `user:password` as written; '' if there is none. */
  readonly login: string;
  /** `host:port` each. */
  readonly members: readonly string[];
  /** The folder of the pool, with a slash at both ends. */
  readonly prefix: string;
}

export interface K8sUrl {
  /** As written; '' if there is none. */
  readonly token: string;
  /** `host`, perhaps with a port. */
  readonly host: string;
  /** Before the API's own path, without a slash at its end. */
  readonly path: string;
}

const ETCD_PORT = 2379;

/** Or what is wrong with it. */
export function readEtcdUrl(url: string): EtcdUrl | string {
  const [, login = '', hosts = '', path = ''] = /^etcd:\/\/(?:([^@/]*)@)?([^/?#@]+)(\/[^?#]*)?$/i.exec(url) ?? [];
  const members = hosts.split(',').map((host) => (/:\d+$/.test(host) ? host : `${host}:${ETCD_PORT}`));
  if (!members.every(isAuthority)) return 'not etcd://host:port/folder';
  const folders = path.split('/').filter((part) => part !== '');
  if (folders.length === 0) return 'the folder of the pool is missing, write etcd://host:port/folder';
  return { login, members, prefix: `/${folders.join('/')}/` };
}

/** Or what is wrong with it. */
export function readK8sUrl(url: string): K8sUrl | string {
  const [, token = '', host = '', path = ''] = /^k8s:\/\/(?:([^@/]*)@)?([^/?#@]+)(\/[^?#]*)?$/i.exec(url) ?? [];
  if (!isAuthority(host) || !URL.canParse(`http://${host}${path}`)) return 'not k8s://host:port';
  return { token, host, path: path.replace(/\/+$/, '') };
}

/** The name in dns:// or srv://; null: it is none. */
export function nameInUrl(url: string): string | null {
  const name = url.replace(/^(dns|srv):\/\//i, '').replace(/\/$/, '');
  const labels = name.replace(/\.$/, '').split('.');
  return name.length <= 253 && labels.every((label) => /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})$/.test(label)) ? name : null;
}

/** What is wrong with the URL of a pool whose scheme is known, or null. */
export function wrongPoolUrl(url: string): string | null {
  const read = (found: object | string): string | null => (typeof found === 'string' ? found : null);
  switch (/^[a-z0-9]+/i.exec(url)?.[0].toLowerCase()) {
    case 'etcd':
      return read(readEtcdUrl(url));
    case 'k8s':
      return read(readK8sUrl(url));
    case 'dns':
      return nameInUrl(url) === null ? 'not dns://name' : null;
    case 'srv':
      return /^_[^.]+\._[^.]+\../.test(nameInUrl(url) ?? '') ? null : 'not srv://_service._proto.name';
    default:
      return null;
  }
}

/** A host, perhaps with a port. A port that is none would be refused by nobody until it is used. */
function isAuthority(text: string): boolean {
  return text !== '' && !text.startsWith(':') && URL.canParse(`http://${text}/`) && !/:0*$/.test(text);
}
