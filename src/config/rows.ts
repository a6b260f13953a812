// The shape of a row in an option table, and the type that a set of rows decodes to. Rows of [global], services and peers
// are in options.ts; each monitor brings its own. Pure types, no behaviour.

/** A list of strings, some of which stand for attributes of the server: `[ '-H', server.host ]`. */
export type Template = readonly (string | { readonly server: ServerAttribute })[];
export type ServerAttribute = 'host' | 'ip' | 'port' | 'weight' | 'service' | 'vip' | 'protocol';

interface Base<N extends string> {
  readonly name: N;
  /** One or two sentences for the commented example and the manual. */
  readonly doc: string;
  /** First version of PyBal that knows it, or absent if it is ours. */
  readonly pybal?: string;
  /** A value as one would write it, for the commented example where there is no default to show. */
  readonly example?: string;
}

interface NumberRow<N extends string, K extends 'int' | 'float' | 'seconds' | 'port'> extends Base<N> {
  readonly kind: K;
  readonly min?: number;
  readonly max?: number;
}

/** `default` absent: required. `default: null`: optional, null when not given. */
type Defaulted<T> = { readonly default?: T | null };

export type OptionRow<N extends string = string> =
  | (NumberRow<N, 'int'> & Defaulted<number>)
  | (NumberRow<N, 'float'> & Defaulted<number>)
  /** A duration in seconds; fractions allowed. */
  | (NumberRow<N, 'seconds'> & Defaulted<number>)
  | (NumberRow<N, 'port'> & Defaulted<number>)
  | (Base<N> & { readonly kind: 'bool' } & Defaulted<boolean>)
  | (Base<N> & { readonly kind: 'string' } & Defaulted<string>)
  /** A string that nobody may see: no complaint, example or status ever shows it. */
  | (Base<N> & { readonly kind: 'secret' } & Defaulted<string>)
  | (Base<N> & { readonly kind: 'path' } & Defaulted<string>)
  | (Base<N> & { readonly kind: 'url'; readonly schemes: readonly string[] } & Defaulted<string>)
  /** A literal IP address; `family` restricts it. Decodes to canonical text. */
  | (Base<N> & { readonly kind: 'address'; readonly family?: 4 | 6 } & Defaulted<string>)
  | (Base<N> & { readonly kind: 'choice'; readonly choices: readonly string[] } & Defaulted<string>)
  /** Python literal: one string or a non-empty list of strings. */
  | (Base<N> & { readonly kind: 'strings' } & Defaulted<readonly string[]>)
  /** As `strings`, of octets: a character from \x00 to \xff each, or `hex:` and digits. Decodes to such characters. */
  | (Base<N> & { readonly kind: 'octets' } & Defaulted<readonly string[]>)
  /** As `strings`, each an absolute URL of one of `schemes` ('http', 'https'). */
  | (Base<N> & { readonly kind: 'urls'; readonly schemes: readonly string[] } & Defaulted<readonly string[]>)
  /** Addresses: one bare address, or a Python list of strings. */
  | (Base<N> & { readonly kind: 'addresses' } & Defaulted<readonly string[]>)
  /** Whitespace-separated integers. */
  | (Base<N> & { readonly kind: 'ints'; readonly min?: number; readonly max?: number } & Defaulted<readonly number[]>)
  /** Words separated by whitespace or commas, each out of `choices`. */
  | (Base<N> & { readonly kind: 'words'; readonly choices?: readonly string[] } & Defaulted<readonly string[]>)
  | (Base<N> & { readonly kind: 'template' } & Defaulted<Template>);

interface KindTypes {
  int: number;
  float: number;
  seconds: number;
  port: number;
  bool: boolean;
  string: string;
  secret: string;
  path: string;
  url: string;
  address: string;
  choice: string;
  strings: readonly string[];
  octets: readonly string[];
  urls: readonly string[];
  addresses: readonly string[];
  ints: readonly number[];
  words: readonly string[];
  template: Template;
}

type ValueOf<Row> = Row extends { readonly kind: infer K extends keyof KindTypes }
  ? Row extends { readonly default: null }
    ? KindTypes[K] | null
    : KindTypes[K]
  : never;

/** `{ url: string[]; interval: number; … }` of a const table of rows. */
export type OptionsOf<R extends readonly OptionRow[]> = {
  readonly [Row in R[number] as Row['name']]: ValueOf<Row>;
};
