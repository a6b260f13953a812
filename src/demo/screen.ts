// The one terminal that everything in the demo shares: each line says when, and who speaks. Colour only on a terminal, and
// not with NO_COLOR (no-color.org).

export interface Screen {
  say(who: string, text: string): void;
  /** A block of text from the demo itself; lines that are not indented are headings. */
  show(lines: readonly string[]): void;
}

const WIDTH = 8;
const COLOURS: Readonly<Record<string, number>> = { demo: 1, anybal: 36, router: 35, server: 32 };

export function createScreen(out: NodeJS.WriteStream, env: Readonly<Record<string, string | undefined>>): Screen {
  const coloured = out.isTTY && (env['NO_COLOR'] ?? '') === '';
  const paint = (who: string, text: string): string => {
    const colour = COLOURS[who.split(' ')[0] ?? ''];
    return coloured && colour !== undefined ? `\x1b[${colour}m${text}\x1b[0m` : text;
  };
  return {
    say(who, text) {
      const time = new Date().toTimeString().slice(0, 8);
      for (const line of text.split('\n')) out.write(`${time} ${paint(who, who.padEnd(WIDTH))} ${line}\n`);
    },
    show(lines) {
      const painted = lines.map((line) => (line === '' || line.startsWith(' ') ? line : paint('demo', line)));
      out.write(`\n${painted.join('\n')}\n\n`);
    },
  };
}
