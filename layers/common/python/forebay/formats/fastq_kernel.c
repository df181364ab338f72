// Reads whole FASTQ records and counts what they hold, for fastq_kernel.py. What is wrong with a
// record that is refused here is said in Python.
//
// The text may be hostile. What keeps this safe: FASTQ carries no lengths or offsets, so every
// pointer comes from finding a line feed inside the text; nothing is allocated, nothing recurses,
// and nothing is written but the state and the names, whose room is looked at before.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANES = 32, CYCLES = 512, ORIGINS = 64, WORD = 8 };

// Of the names, a sample: a table of this many places, at most half of them taken.
enum { PLACES = 1 << 16, SAMPLED_AT_MOST = PLACES / 2 };

// So many vectors can be counted in bytes before a count could overflow, and so many reads' qualities,
// of at most 127 each, be summed in 16 bits.
enum { COUNTED_VECTORS = 255, STAGED_READS = 512 };

// Stands for how many bases a record has, where that is not known.
#define NO_LENGTH SIZE_MAX

enum { LEAST_QUALITY = 33, GREATEST_QUALITY = 126, PHRED33 = 33, PHRED64 = 64, LEAST_AT_64 = 59 };

enum stop { ALL_TAKEN, BROKEN, UNKNOWN_ORIGIN, NAMES_FULL };

typedef uint8_t Bytes __attribute__((vector_size(LANES)));
typedef uint16_t Sums __attribute__((vector_size(2 * LANES)));

typedef struct {
    const uint8_t *text;
    size_t size;
} Prefix;

typedef struct {
    // What the caller sets.
    const uint8_t *letter_classes;  // by character: 0 allowed, 1 allowed but odd, 2 refused
    uint8_t *names;                 // what the names digest is computed of
    size_t names_room, names_due;   // the size of that memory, and from where on it is to be emptied
    size_t max_line;
    Prefix origins[ORIGINS];        // what names of known origins start with
    int64_t known_origins;
    int64_t origin_examined;        // the next name needs no origin; cleared when it is taken
    int64_t wants_origins;
    // What is counted.
    int64_t reads, bases, gc, n;
    int64_t q20, q30, q20_phred64, q30_phred64;
    int64_t min_length, max_length;
    int64_t first_odd_read;         // -1 as long as there is none
    int64_t unlike_pairs;
    int64_t reads_of_length[CYCLES + 1];
    int64_t cycle_sums[CYCLES];
    int64_t least_quality, greatest_quality;
    int64_t mates_in_names, mates_in_comments;  // bit n for mate n
    uint64_t greatest_hash;  // names whose hash is not greater are in the sample
    int64_t sampled;
    uint64_t sampled_hashes[PLACES];
    uint32_t sampled_times[PLACES];  // 0 where a place is free
    // Where the names are, of this moment.
    size_t names_size;
    size_t first_mate_at, first_mate_size;
    int64_t stop;
} State;

size_t fastq_state_size(void) { return sizeof(State); }

typedef struct {
    const uint8_t *at;
    size_t size;
} Line;

typedef struct {
    Line head, bases, plus, qualities;
    const uint8_t *end;
    bool has_tab;  // In its head.
} Record;

typedef struct {
    Sums sums[CYCLES / LANES];
    int reads;
} Stage;

static inline Bytes all(uint8_t character) { return (Bytes){0} + character; }

static inline Bytes columns_below(size_t count) {
    const Bytes column = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                          16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    return (Bytes)(column < all((uint8_t)count));
}

// The next characters of a line, NUL behind its end; `end` is how far memory may be read.
static inline Bytes load(const uint8_t *at, size_t left, const uint8_t *end) {
    Bytes characters = {0};
    if (left >= LANES) {
        __builtin_memcpy(&characters, at, LANES);
        return characters;
    }
    if ((size_t)(end - at) < LANES) {
        __builtin_memcpy(&characters, at, left);
        return characters;
    }
    __builtin_memcpy(&characters, at, LANES);
    return characters & columns_below(left);
}

static inline int64_t total(Bytes counts) {
    return __builtin_reduce_add(__builtin_convertvector(counts, Sums));
}

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

// The next line and what follows it; false when the text ends before the line does.
static inline bool next_line(const uint8_t **at, const uint8_t *end, Line *line) {
    const uint8_t *feed = __builtin_memchr(*at, '\n', (size_t)(end - *at));
    if (!feed) return false;
    *line = (Line){*at, (size_t)(feed - *at)};
    *at = feed + 1;
    return true;
}

// The next line if it has this many characters, as far as its end tells; any other, by searching.
// A line feed among its characters goes unnoticed: the caller looks at each of them.
static inline bool line_of(const uint8_t **at, const uint8_t *end, size_t size, Line *line) {
    if ((size_t)(end - *at) <= size || (*at)[size] != '\n') return next_line(at, end, line);
    *line = (Line){*at, size};
    *at += size + 1;
    return true;
}

// The next record, whose bases are perhaps `usual`, as many as those of the record before.
static inline bool next_record(const uint8_t *at, const uint8_t *end, size_t usual, Record *record) {
    // One character on the third line is a plus, which is_formed asks for; qualities are as many as
    // bases. None of either is a line feed, which take_bases and take_qualities see to.
    bool is_whole = next_line(&at, end, &record->head) &&
                    line_of(&at, end, usual, &record->bases) &&
                    line_of(&at, end, 1, &record->plus) &&
                    line_of(&at, end, record->bases.size, &record->qualities);
    record->end = at;
    return is_whole;
}

static inline bool is_printable(Line line, const uint8_t *end, bool *has_tab) {
    Bytes bad = {0}, tabs = {0};
    for (size_t i = 0; i < line.size; i += LANES) {
        size_t left = line.size - i;
        Bytes characters = load(line.at + i, left, end);
        Bytes is_tab = (Bytes)(characters == '\t');
        Bytes is_control = (Bytes)(characters < ' ') & ~is_tab;
        if (left < LANES) is_control &= columns_below(left);
        tabs |= is_tab;
        bad |= is_control | (Bytes)(characters > '~');
    }
    *has_tab = __builtin_reduce_or(tabs) != 0;
    return __builtin_reduce_or(bad) == 0;
}

static inline bool is_formed(const State *state, Record *record, const uint8_t *end) {
    Line head = record->head, plus = record->plus;
    if (head.size < 2 || head.at[0] != '@' || plus.size < 1 || plus.at[0] != '+') return false;
    if (record->bases.size != record->qualities.size) return false;
    if (head.size > state->max_line || record->bases.size > state->max_line) return false;
    if (plus.size > 1 && (plus.size != head.size ||
                          __builtin_memcmp(plus.at + 1, head.at + 1, head.size - 1) != 0))
        return false;
    return is_printable(head, end, &record->has_tab);
}

static inline size_t name_size(Line head, bool has_tab) {
    const uint8_t *blank = __builtin_memchr(head.at, ' ', head.size);
    size_t size = blank ? (size_t)(blank - head.at) : head.size;
    // A second search costs more than all else done to the line: nearly no name has a tab.
    const uint8_t *tab = has_tab ? __builtin_memchr(head.at, '\t', size) : 0;
    return tab ? (size_t)(tab - head.at) : size;
}

// The bit of a mate's digit, or none.
static inline int64_t mate_bit(uint8_t digit) {
    return '1' <= digit && digit <= '4' ? INT64_C(1) << (digit - '0') : 0;
}

static bool has_known_origin(State *state, const uint8_t *name, size_t size) {
    for (int64_t i = 0; i < state->known_origins; i++) {
        Prefix known = state->origins[i];
        if (size < known.size || __builtin_memcmp(name, known.text, known.size) != 0) continue;
        // Reads of one origin follow each other.
        state->origins[i] = state->origins[0];
        state->origins[0] = known;
        return true;
    }
    return false;
}

// A hash of whole words (the last step is that of MurmurHash3); `mate` tells mates of one name apart.
static inline uint64_t hash_of(const uint8_t *name, size_t size, int64_t mate) {
    uint64_t hash = (uint64_t)mate;
    for (size_t i = 0; i < size; i += WORD) {
        uint64_t word;
        __builtin_memcpy(&word, name + i, WORD);
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
    }
    hash = (hash ^ hash >> 33) * UINT64_C(0xFF51AFD7ED558CCD);
    hash = (hash ^ hash >> 33) * UINT64_C(0xC4CEB9FE1A85EC53);
    return hash ^ hash >> 33;
}

// Free a place of the sample; what stands behind it because the place was taken moves up.
static void forget(State *state, size_t place) {
    for (size_t next = (place + 1) % PLACES; state->sampled_times[next];
         next = (next + 1) % PLACES) {
        size_t home = state->sampled_hashes[next] % PLACES;
        if ((next - home) % PLACES < (next - place) % PLACES) continue;
        state->sampled_hashes[place] = state->sampled_hashes[next];
        state->sampled_times[place] = state->sampled_times[next];
        place = next;
    }
    state->sampled_times[place] = 0;
    state->sampled--;
}

// Note a name in the sample. Which names are in it does not depend on their order: those of the
// least hashes. When it is full, the half of the greater hashes goes.
static void sample(State *state, uint64_t hash) {
    if (hash > state->greatest_hash) return;
    size_t place = hash % PLACES;
    while (state->sampled_times[place] && state->sampled_hashes[place] != hash)
        place = (place + 1) % PLACES;
    if (state->sampled_times[place]) {
        if (state->sampled_times[place] < UINT32_MAX) state->sampled_times[place]++;
        return;
    }
    state->sampled_hashes[place] = hash;
    state->sampled_times[place] = 1;
    if (++state->sampled <= SAMPLED_AT_MOST) return;
    state->greatest_hash /= 2;
    for (place = 0; place < PLACES; place++)
        while (state->sampled_times[place] && state->sampled_hashes[place] > state->greatest_hash)
            forget(state, place);
}

// How many names of the sample came more often than `times`.
int64_t fastq_sampled_above(const State *state, int64_t times) {
    int64_t found = 0;
    for (size_t place = 0; place < PLACES; place++) found += state->sampled_times[place] > times;
    return found;
}

static inline void take_name(State *state, Line head, size_t size) {
    size_t bare = size;
    int64_t mate = 0;
    if (size > 2 && head.at[size - 2] == '/') {
        uint8_t digit = head.at[size - 1];
        mate = mate_bit(digit);
        state->mates_in_names |= mate;
        if (digit == '1' || digit == '2') bare -= 2;
    }
    if (size + 2 < head.size && head.at[size + 2] == ':') {
        int64_t in_comment = mate_bit(head.at[size + 1]);
        state->mates_in_comments |= in_comment;
        mate |= in_comment;
    }

    size_t padded = (bare / WORD + 1) * WORD;
    uint8_t *name = state->names + state->names_size;
    __builtin_memset(name + padded - WORD, 0, WORD);
    __builtin_memcpy(name, head.at, bare);
    if (state->reads % 2 == 0) {
        state->first_mate_at = state->names_size;
        state->first_mate_size = padded;
    } else if (state->first_mate_size != padded ||
               __builtin_memcmp(state->names + state->first_mate_at, name, padded) != 0) {
        state->unlike_pairs++;
    }
    state->names_size += padded;
    sample(state, hash_of(name, padded, mate));
}

// Count letters one by one, upper and lower case alike; false when one is refused.
static bool take_odd_bases(State *state, Line bases) {
    uint8_t worst = 0;
    for (size_t i = 0; i < bases.size; i++) {
        uint8_t upper = bases.at[i] & 0xDF, class = state->letter_classes[bases.at[i]];
        state->gc += upper == 'G' || upper == 'C';
        state->n += upper == 'N';
        if (class > worst) worst = class;
    }
    if (worst == 1 && state->first_odd_read < 0) state->first_odd_read = state->reads;
    return worst < 2;
}

static inline bool take_bases(State *state, Line bases, const uint8_t *end) {
    int64_t gc = 0, n = 0, at = 0;
    for (size_t i = 0; i < bases.size;) {
        Bytes gcs = {0}, ns = {0}, ats = {0};
        size_t stop = smaller(bases.size, i + COUNTED_VECTORS * LANES);
        for (; i < stop; i += LANES) {
            Bytes letters = load(bases.at + i, bases.size - i, end);
            // A comparison is -1 where it holds.
            // C and G differ in one bit.
            gcs -= (Bytes)((letters & all(0xFB)) == 'C');
            ats -= (Bytes)(letters == 'A') + (Bytes)(letters == 'T');
            ns -= (Bytes)(letters == 'N');
        }
        gc += total(gcs);
        n += total(ns);
        at += total(ats);
    }
    if (gc + n + at != (int64_t)bases.size) {
        if (__builtin_memchr(bases.at, '\n', bases.size)) return false;
        return take_odd_bases(state, bases);
    }
    state->gc += gc;
    state->n += n;
    return true;
}

static void unstage(State *state, Stage *stage) {
    uint16_t sums[CYCLES];
    __builtin_memcpy(sums, stage->sums, sizeof sums);
    for (int cycle = 0; cycle < CYCLES; cycle++) state->cycle_sums[cycle] += sums[cycle];
    *stage = (Stage){0};
}

// Count qualities; false when one is out of range.
static inline bool take_qualities(State *state, Stage *stage, Line qualities, const uint8_t *end) {
    if (qualities.size == 0) return true;
    // Once a quality is too low for offset 64, nobody asks for what that offset would make of them.
    bool may_be_64 = state->least_quality >= LEAST_AT_64;
    Bytes least = all(255), greatest = {0};
    for (size_t i = 0; i < qualities.size;) {
        Bytes q20 = {0}, q30 = {0}, q20_64 = {0}, q30_64 = {0};
        size_t stop = smaller(qualities.size, i + COUNTED_VECTORS * LANES);
        for (; i < stop; i += LANES) {
            size_t left = qualities.size - i;
            Bytes scores = load(qualities.at + i, left, end);
            if (i < CYCLES) stage->sums[i / LANES] += __builtin_convertvector(scores, Sums);
            q20 -= (Bytes)(scores >= PHRED33 + 20);
            q30 -= (Bytes)(scores >= PHRED33 + 30);
            if (may_be_64) {
                q20_64 -= (Bytes)(scores >= PHRED64 + 20);
                q30_64 -= (Bytes)(scores >= PHRED64 + 30);
            }
            greatest = __builtin_elementwise_max(greatest, scores);
            if (left < LANES) scores |= ~columns_below(left);
            least = __builtin_elementwise_min(least, scores);
        }
        state->q20 += total(q20);
        state->q30 += total(q30);
        if (may_be_64) {
            state->q20_phred64 += total(q20_64);
            state->q30_phred64 += total(q30_64);
        }
    }
    int64_t low = __builtin_reduce_min(least), high = __builtin_reduce_max(greatest);
    if (low < LEAST_QUALITY || high > GREATEST_QUALITY) return false;
    if (low < state->least_quality) state->least_quality = low;
    if (high > state->greatest_quality) state->greatest_quality = high;
    if (++stage->reads == STAGED_READS) unstage(state, stage);
    return true;
}

static inline void take_length(State *state, size_t size) {
    int64_t length = (int64_t)size;
    if (length < state->min_length) state->min_length = length;
    if (length > state->max_length) state->max_length = length;
    state->reads_of_length[smaller(size, CYCLES)]++;
    state->bases += length;
}

// Take whole records from `text[at:size]`; return where the first one that was not taken starts, and
// leave in `state->stop` why.
size_t fastq_take(State *state, const uint8_t *text, size_t at, size_t size) {
    const uint8_t *end = text + size;
    Stage stage = {0};
    Record record;
    state->stop = ALL_TAKEN;
    for (size_t usual = NO_LENGTH;;) {
        bool is_whole = next_record(text + at, end, usual, &record);
        if (!is_whole || !is_formed(state, &record, end)) {
            // Perhaps because this one is of another length.
            if (usual != NO_LENGTH) {
                usual = NO_LENGTH;
                continue;
            }
            if (is_whole) state->stop = BROKEN;
            break;
        }
        bool is_second_mate = state->reads % 2;
        bool is_due = state->names_size >= state->names_due && !is_second_mate;
        if (is_due || state->names_room - state->names_size < record.head.size + WORD) {
            state->stop = NAMES_FULL;
            break;
        }
        size_t name = name_size(record.head, record.has_tab);
        if (state->wants_origins && !state->origin_examined &&
            !has_known_origin(state, record.head.at, name)) {
            state->stop = UNKNOWN_ORIGIN;
            break;
        }
        // What a record that is refused then has added does not matter: it is the last one.
        if (!take_bases(state, record.bases, end)) {
            if (usual != NO_LENGTH) {
                usual = NO_LENGTH;
                continue;
            }
            state->stop = BROKEN;
            break;
        }
        state->origin_examined = 0;
        take_name(state, record.head, name);
        if (!take_qualities(state, &stage, record.qualities, end)) {
            state->stop = BROKEN;
            break;
        }
        take_length(state, record.bases.size);
        usual = record.bases.size;
        state->reads++;
        at = (size_t)(record.end - text);
    }
    unstage(state, &stage);
    return at;
}
