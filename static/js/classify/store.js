// Where unsent classifications wait: IndexedDB, or localStorage where a browser forbids that.

const DATABASE = "starsieve";
const ENTRIES = "outbox";
const FALLBACK_KEY = "starsieve:outbox";

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

class IndexedStore {
  constructor(database) {
    this.database = database;
  }

  async write(change) {
    const transaction = this.database.transaction(ENTRIES, "readwrite", { durability: "strict" });
    change(transaction.objectStore(ENTRIES));
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  put(entry) {
    return this.write((entries) => entries.put(entry));
  }

  remove(id) {
    return this.write((entries) => entries.delete(id));
  }

  async all() {
    const entries = await settled(this.database.transaction(ENTRIES).objectStore(ENTRIES).getAll());
    return entries.sort((a, b) => a.created - b.created);
  }
}

class LocalStore {
  read() {
    return JSON.parse(localStorage.getItem(FALLBACK_KEY) ?? "{}");
  }

  write(entries) {
    localStorage.setItem(FALLBACK_KEY, JSON.stringify(entries));
  }

  async put(entry) {
    this.write({ ...this.read(), [entry.id]: entry });
  }

  async remove(id) {
    const entries = this.read();
    delete entries[id];
    this.write(entries);
  }

  async all() {
    return Object.values(this.read()).sort((a, b) => a.created - b.created);
  }
}

/** Rejects when this browser offers no storage at all: then a page must not take answers that it could lose. */
export async function openStore() {
  try {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(ENTRIES, { keyPath: "id" });
    return new IndexedStore(await settled(request));
  } catch {
    const store = new LocalStore();
    store.write(store.read());
    return store;
  }
}
