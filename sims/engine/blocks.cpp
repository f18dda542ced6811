// Blocks of a window on several threads, without the interpreter: batches gathered, the compiled programme called,
// rows written.
//
// Blocks are taken in order, each by whichever thread is free, and a block begins when those of earlier waves are
// done. Blocks of one wave write different rows, so who takes which, and when, changes nothing in the outcome.

#include <cstdint>
#include <cstring>
#include <ctime>
#include <initializer_list>
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Of torch's C interface, torch/csrc/inductor/aoti_torch/c/shim.h.
extern "C" {
typedef void* Tensor;
int32_t aoti_torch_new_tensor_handle(Tensor from, Tensor* made);
int32_t aoti_torch_delete_tensor_object(Tensor tensor);
int32_t aoti_torch_get_data_ptr(Tensor tensor, void** data);
int32_t aoti_torch_get_strides(Tensor tensor, int64_t** strides);
}

namespace {

constexpr int64_t kMostInputs = 64, kOutputs = 3;
constexpr int64_t kAwake = 6000;  // looks, of some 20 ns each, before a thread that waits sleeps
enum Column { kNode = 0, kKeep = 3, kStep = 4 };

typedef int32_t (*Run)(void* container, Tensor* inputs, size_t, Tensor* outputs, size_t, void*, void*);
typedef void (*Draw)(int64_t* samples, int64_t rows, int64_t local_steps, int64_t size, int64_t seed,
                     const int64_t* node, const int64_t* updates, const int64_t* steps, const int64_t* offsets,
                     const int64_t* indices, const int64_t* numbers, int64_t nodes);

// One tensor of a sample: all samples, and where a block's are gathered.
struct Leaf {
  const char* pool;
  char* gathered;
  int64_t bytes;
};

// What one thread needs for blocks of one group. The programme frees the inputs it is given, so it gets copies of
// these handles; `columns` is the memory of one of them.
struct Site {
  Run run;
  void* container;
  const Tensor* inputs;
  int64_t input_count;
  int64_t* columns;
  const Leaf* leaves;
  int64_t leaf_count;
  int64_t* samples;
  float* weights;  // null, or 0 for samples that pad a batch
  int64_t local_steps, size, trains;
};

struct Job {
  char* rows;
  int64_t row_bytes, number_bytes;
  int64_t* ages;
  int64_t ages_each;
  char* kept;
  int64_t kept_bytes, nowhere;
  const int64_t* columns;  // [blocks, lines, B]
  int64_t blocks, lines, size;
  const int64_t* group;
  const int64_t* begins_after;  // blocks that are done before each
  Draw draw;
  int64_t seed, nodes;
  const int64_t *steps, *offsets, *indices, *numbers;
  const Site* sites;  // [threads, groups]
  int64_t groups;
  int64_t* progress;  // `Progress`, each in a line of the cache of its own
};

enum Progress { kNext = 0, kDone = 8, kAlone = 16, kFailed = 24, kCore = 32 };

inline int64_t read(const int64_t* from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }

inline int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Wait for other threads: awake as long as a block may take, then out of the way of whoever needs the core.
inline bool wait_until_done(const int64_t* progress, int64_t wanted) {
  for (int64_t tries = 0; read(progress + kDone) < wanted; ++tries) {
    if (read(progress + kFailed)) return false;
    if (tries < kAwake) {
      pause();
    } else {
      const timespec moment = {0, 20000};
      nanosleep(&moment, nullptr);
    }
  }
  return true;
}

// Leave the core of the first thread, where the system may have woken this one, for any other that it may use.
void leave_core_of_first(const int64_t* progress) {
#if defined(__linux__)
  for (int64_t tries = 0; tries < kAwake && read(progress + kCore) < 0; ++tries) pause();
  const int64_t core = read(progress + kCore);
  cpu_set_t allowed, others;
  if (core < 0 || core >= CPU_SETSIZE || sched_getcpu() != core || sched_getaffinity(0, sizeof allowed, &allowed)) return;
  others = allowed;
  CPU_CLR(core, &others);
  if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others)) sched_setaffinity(0, sizeof allowed, &allowed);
#else
  (void)progress;
#endif
}

inline int64_t core_of_this_thread() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

inline void copy_sample(char* to, const char* from, int64_t bytes) {
  if (bytes == 8) std::memcpy(to, from, 8);
  else std::memcpy(to, from, bytes);
}

void gather(const Job& job, const Site& site, const int64_t* columns) {
  const int64_t *node = columns + kNode * job.size, each = site.local_steps * site.size;
  job.draw(site.samples, job.size, site.local_steps, site.size, job.seed, node, columns + kStep * job.size, job.steps,
           job.offsets, job.indices, job.numbers, job.nodes);
  for (int64_t k = 0; k < site.leaf_count; ++k) {
    const Leaf leaf = site.leaves[k];
    for (int64_t b = 0; b < job.size; ++b) {
      if (node[b] >= job.nodes) continue;
      for (int64_t s = b * each; s < (b + 1) * each; ++s)
        copy_sample(leaf.gathered + s * leaf.bytes, leaf.pool + site.samples[s] * leaf.bytes, leaf.bytes);
    }
  }
  if (!site.weights) return;
  for (int64_t b = 0; b < job.size; ++b) {
    if (node[b] >= job.nodes) continue;
    const int64_t count = job.offsets[node[b] + 1] - job.offsets[node[b]];
    for (int64_t s = 0; s < each; ++s) site.weights[b * each + s] = s % site.size < count ? 1.0f : 0.0f;
  }
}

// Row b of a tensor of numbers of some bytes, wherever they lie.
inline void copy_row(char* to, const char* from, const int64_t* strides, int64_t b, int64_t numbers, int64_t bytes) {
  from += b * strides[0] * bytes;
  if (numbers == 1 || strides[1] == 1) {
    std::memcpy(to, from, numbers * bytes);
  } else {
    for (int64_t k = 0; k < numbers; ++k) std::memcpy(to + k * bytes, from + k * strides[1] * bytes, bytes);
  }
}

bool write(const Job& job, const int64_t* columns, Tensor* outputs) {
  void* data[kOutputs];
  int64_t* strides[kOutputs];
  for (int k = 0; k < kOutputs; ++k)
    if (aoti_torch_get_data_ptr(outputs[k], data + k) || aoti_torch_get_strides(outputs[k], strides + k)) return false;
  const char *rows = static_cast<char*>(data[0]), *ages = static_cast<char*>(data[1]);
  for (int64_t b = 0; b < job.size; ++b) {
    const int64_t node = columns[kNode * job.size + b];
    for (const int64_t place : {node, columns[kKeep * job.size + b]}) {
      if (place == job.nowhere) continue;
      copy_row(job.rows + place * job.row_bytes, rows, strides[0], b, job.row_bytes / job.number_bytes,
               job.number_bytes);
      copy_row(reinterpret_cast<char*>(job.ages + place * job.ages_each), ages, strides[1], b, job.ages_each, 8);
    }
    if (job.kept_bytes && node != job.nowhere)
      copy_row(job.kept + node * job.kept_bytes, static_cast<char*>(data[2]), strides[2], b,
               job.kept_bytes / job.number_bytes, job.number_bytes);
  }
  return true;
}

bool execute(const Job& job, const Site& site, int64_t block) {
  const int64_t* columns = job.columns + block * job.lines * job.size;
  std::memcpy(site.columns, columns, job.lines * job.size * 8);
  if (site.trains) gather(job, site, columns);
  Tensor inputs[kMostInputs], outputs[kOutputs];
  for (int64_t k = 0; k < site.input_count; ++k)
    if (aoti_torch_new_tensor_handle(site.inputs[k], inputs + k)) return false;
  if (site.run(site.container, inputs, site.input_count, outputs, kOutputs, nullptr, nullptr)) return false;
  const bool written = write(job, columns, outputs);
  for (Tensor output : outputs) aoti_torch_delete_tensor_object(output);
  return written;
}

}  // namespace

extern "C" {

// Take blocks until none is left (1), time is over (0) or one has failed, here or elsewhere (-1). Threads other than
// the first leave (0) when they are no longer wanted.
int32_t blocks_run(const Job* job, int64_t thread, int64_t nanoseconds) {
  int64_t* progress = job->progress;
  const int64_t end = nanoseconds ? now() + nanoseconds : 0;
  if (thread) leave_core_of_first(progress);
  else __atomic_store_n(progress + kCore, core_of_this_thread(), __ATOMIC_RELEASE);
  for (;;) {
    if (read(progress + kFailed)) return -1;
    if ((thread && read(progress + kAlone)) || (end && now() >= end)) return 0;
    const int64_t block = __atomic_fetch_add(progress + kNext, 1, __ATOMIC_RELAXED);
    if (block >= job->blocks) return 1;
    if (!wait_until_done(progress, job->begins_after[block])) return -1;
    if (!execute(*job, job->sites[thread * job->groups + job->group[block]], block)) {
      __atomic_store_n(progress + kFailed, 1, __ATOMIC_RELEASE);
      return -1;
    }
    __atomic_fetch_add(progress + kDone, 1, __ATOMIC_ACQ_REL);
  }
}

void blocks_release(Tensor* handles, int64_t count) {
  for (int64_t k = 0; k < count; ++k) aoti_torch_delete_tensor_object(handles[k]);
}

}  // extern "C"
