// A list with one more at its end, exactly as long as it must be. For lists of which there are thousands, each with a few: V8 gives one
// that is pushed to room for 17, and its concat takes longer than all else that is done with so few.

export function appended<T>(list: readonly T[], item: T): readonly T[] {
  const [first, second, third] = list;
  switch (list.length) {
    case 0:
      return [item];
    case 1:
      return [first as T, item];
    case 2:
      return [first as T, second as T, item];
    case 3:
      return [first as T, second as T, third as T, item];
    default:
      return list.concat([item]);
  }
}
