/**
 * Keeps some of what is slow to make ready, by shape: made ahead after a shape's first use,
 * bounded in all, each handed out once. Making and dropping them is left to the owner.
 */

/** Something that is kept ready. */
export interface PoolMember {
  /** False once it can be of no use any more. */
  isAlive(): boolean;
  /** Resolves when that happens. */
  readonly gone: Promise<void>;
}

/** What a pool is made of. */
export interface WarmPoolOptions<Shape, Member extends PoolMember> {
  /** How many are kept for each shape; 0: none at all. */
  readonly perShape: number;
  /** How many are kept of all shapes together. */
  readonly total: number;
  /** What they may take of the host together, in the unit of `of`. Default: not counted. */
  readonly room?: { readonly most: number; of(shape: Shape): number };
  /** True: one that is being made is not waited for. Default: false. */
  readonly readyOnly?: boolean;
  /** How long one is kept that nobody wants, in milliseconds. Default: as long as the pool. */
  readonly keepMs?: number;
  readonly make: (shape: Shape) => Promise<Member>;
  /** Takes one away that nobody wanted. */
  readonly drop: (member: Member) => Promise<void>;
}

interface Shelf<Shape, Member> {
  readonly shape: Shape;
  readonly ready: Member[];
  /** Those under way, which may be taken as well. */
  readonly making: Promise<Member>[];
}

/** A pool of members by shape. */
export class WarmPool<Shape, Member extends PoolMember> {
  readonly #options: WarmPoolOptions<Shape, Member>;
  /** In the order of their last use, oldest first. */
  readonly #shelves = new Map<string, Shelf<Shape, Member>>();
  readonly #work = new Set<Promise<unknown>>();
  /** By which those that nobody wants go. */
  readonly #ends = new Map<Member, NodeJS.Timeout>();
  #closed = false;

  constructor(options: WarmPoolOptions<Shape, Member>) {
    this.#options = options;
  }

  /** How many are ready or being made. */
  get size(): number {
    let size = 0;
    for (const { ready, making } of this.#shelves.values()) size += ready.length + making.length;
    return size;
  }

  /**
   * A member of that shape, the caller's from now on; one that is being made is waited for,
   * unless `readyOnly` says otherwise. `undefined`: there is none. Either way more are made in
   * the background.
   */
  async take(key: string, shape: Shape): Promise<Member | undefined> {
    if (this.#options.perShape === 0 || this.#closed) return undefined;
    for (const [other, { ready, making }] of this.#shelves) {
      if (other !== key && ready.length + making.length === 0) this.#shelves.delete(other);
    }
    const shelf = this.#shelves.get(key) ?? { shape, ready: [], making: [] };
    this.#shelves.delete(key);
    this.#shelves.set(key, shelf);
    let taken = this.#unshelve(shelf);
    while (taken && !taken.isAlive()) {
      this.#drop(taken);
      taken = this.#unshelve(shelf);
    }
    const coming = taken || this.#options.readyOnly ? undefined : shelf.making.shift();
    this.#fill(shelf);
    if (taken || !coming) return taken;
    try {
      const member = await coming;
      if (member.isAlive()) return member;
      this.#drop(member);
    } catch {
      // Why it could not be made is told by the caller's own try.
    }
    return undefined;
  }

  /** Drops all whose shape is no longer wanted. */
  forget(isStale: (shape: Shape) => boolean): void {
    for (const [key, shelf] of this.#shelves) {
      if (!isStale(shelf.shape)) continue;
      this.#shelves.delete(key);
      this.#empty(shelf);
    }
  }

  /** Resolves when nothing is being made or dropped any more. */
  async settled(): Promise<void> {
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  /** Drops all; nothing is made any more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.forget(() => true);
    await this.settled();
  }

  #fill(shelf: Shelf<Shape, Member>): void {
    const { perShape, total, room, make } = this.#options;
    for (;;) {
      const own = shelf.ready.length + shelf.making.length;
      if (own >= Math.min(perShape, total)) return;
      // Others make room only for what fits in then.
      if (room && room.of(shelf.shape) * (own + 1) > room.most) return;
      while (!this.#hasRoom(shelf.shape)) if (!this.#makeRoom(shelf)) return;
      const making = make(shelf.shape);
      shelf.making.push(making);
      this.#track(
        making.then(
          (member) => this.#shelve(shelf, making, member),
          () => {
            // What is wrong shows in the next start, which is not made ahead.
            remove(shelf.making, making);
          },
        ),
      );
    }
  }

  #shelve(shelf: Shelf<Shape, Member>, making: Promise<Member>, member: Member): void {
    // Taken while it was made, or dropped with its shelf.
    if (!remove(shelf.making, making)) return;
    shelf.ready.push(member);
    const end = () => {
      this.#forgetEnd(member);
      if (remove(shelf.ready, member)) this.#drop(member);
    };
    const { keepMs } = this.#options;
    if (keepMs !== undefined) this.#ends.set(member, setTimeout(end, keepMs).unref());
    void member.gone.then(end);
  }

  #unshelve({ ready }: Shelf<Shape, Member>): Member | undefined {
    const member = ready.shift();
    if (member) this.#forgetEnd(member);
    return member;
  }

  #forgetEnd(member: Member): void {
    clearTimeout(this.#ends.get(member));
    this.#ends.delete(member);
  }

  #hasRoom(shape: Shape): boolean {
    const { total, room } = this.#options;
    if (this.size >= total) return false;
    if (!room) return true;
    let used = room.of(shape);
    for (const { shape: other, ready, making } of this.#shelves.values()) {
      used += room.of(other) * (ready.length + making.length);
    }
    return used <= room.most;
  }

  /** Drops one of the shape that was not used for the longest time. */
  #makeRoom(besides: Shelf<Shape, Member>): boolean {
    for (const shelf of this.#shelves.values()) {
      if (shelf === besides) continue;
      const oldest = this.#unshelve(shelf);
      if (oldest === undefined) continue;
      this.#drop(oldest);
      return true;
    }
    return false;
  }

  #empty(shelf: Shelf<Shape, Member>): void {
    for (let ready = this.#unshelve(shelf); ready; ready = this.#unshelve(shelf)) this.#drop(ready);
    for (const coming of shelf.making.splice(0)) {
      const dropped = coming.then((member) => this.#options.drop(member));
      this.#track(
        dropped.catch(() => {
          // Never made, or the owner's sweep takes it away.
        }),
      );
    }
  }

  #drop(member: Member): void {
    this.#track(
      this.#options.drop(member).catch(() => {
        // The owner's sweep takes it away.
      }),
    );
  }

  #track(work: Promise<unknown>): void {
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }
}

function remove<T>(list: T[], item: T): boolean {
  const index = list.indexOf(item);
  if (index >= 0) list.splice(index, 1);
  return index >= 0;
}
