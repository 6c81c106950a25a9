// @ts-check
/** Sessions: what each tab calls its own work, and which of them are alive in some tab. */

import { forTab } from './shelf.js';

const SESSION = 'sam-session';
const LOCK = 'sam-session/';
/** So long a tab waits for what it was before to let go: one that was reloaded for sure, a duplicated one in vain. */
const PATIENCE_MS = { reloaded: 10_000, other: 600 };

/** @typedef {{session: string, before: string | null}} Entered `before`: whose work the tab begins with */

/**
 * The session of this tab, which is locked for as long as the tab is open. It is the one from before a reload; a tab that
 * was duplicated has the other's name, finds it locked, and goes on under a name of its own.
 * @param {LockManager | undefined} [locks] missing where the page is served neither securely nor from this machine
 * @returns {Promise<Entered>}
 */
export async function enterSession(locks = navigator.locks) {
  const before = forTab.get(SESSION);
  const session = before && (await take(locks, before, patience())) ? before : await beginSession(locks);
  return { session, before };
}

/**
 * A session of this tab that begins with nothing, whatever it was in.
 * @param {LockManager | undefined} [locks]
 * @returns {Promise<string>}
 */
export async function beginSession(locks = navigator.locks) {
  const session = Math.random().toString(36).slice(2);
  await take(locks, session);
  forTab.set(SESSION, session);
  return session;
}

/**
 * Sessions that some tab is in. Where there are no locks nobody can tell, and none is named.
 * @param {LockManager | undefined} [locks]
 * @returns {Promise<Set<string>>}
 */
export async function liveSessions(locks = navigator.locks) {
  const { held = [] } = (await locks?.query().catch(() => null)) ?? {};
  return new Set(held.flatMap(({ name }) => (name?.startsWith(LOCK) ? [name.slice(LOCK.length)] : [])));
}

/**
 * Lock a session for as long as this tab is open.
 * @param {LockManager | undefined} locks
 * @param {string} session
 * @param {number} [milliseconds] until it is given up; a name that nobody else has is waited for, or its lock would be missing
 * @returns {Promise<boolean>} false when another tab is in it
 */
function take(locks, session, milliseconds) {
  return new Promise((resolve) => {
    const untilTheTabCloses = () => new Promise(() => resolve(true));
    const options = milliseconds === undefined ? {} : { signal: AbortSignal.timeout(milliseconds) };
    const request = locks?.request(LOCK + session, options, untilTheTabCloses);
    if (!request) resolve(true);
    // A browser that keeps nothing for this page refuses locks as well; no other tab shares its work then.
    request?.catch((error) => resolve(error.name !== 'TimeoutError'));
  });
}

function patience() {
  const [entry] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
  return entry?.type === 'reload' ? PATIENCE_MS.reloaded : PATIENCE_MS.other;
}
