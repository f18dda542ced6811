// LSTM layers within compiled programmes: the kernels of gossipfl/kernels/lstm.cpp on tensors of torch's C interface.

namespace lstm_shims {

// A tensor: where its numbers are, and their strides. Where it has to be laid out anew, a copy.
class Tensor {
 public:
  // The first dimension, with `free` more, may have any stride; the others lie as in contiguous memory. Of dense ones,
  // rows follow one another as well.
  Tensor(AtenTensorHandle given, int free, bool is_dense = false) : handle_(given) {
    read();
    int64_t expected = 1, numbers_of_row = 1;
    for (int64_t d = 1; d < dimensions; ++d) numbers_of_row *= sizes[d];
    bool fits = !is_dense || sizes[0] == 1 || strides[0] == numbers_of_row;
    for (int64_t d = dimensions - 1; d > free; --d) {
      fits = fits && (sizes[d] == 1 || strides[d] == expected);
      expected *= sizes[d];
    }
    if (fits) return;
    int64_t whole[8];
    expected = 1;
    for (int64_t d = dimensions - 1; d >= 0; --d) whole[d] = expected, expected *= sizes[d];
    const int64_t* shape = sizes;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(dimensions, shape, whole, aoti_torch_dtype_float32(),
                                                         aoti_torch_device_type_cpu(), 0, &copy_));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_copy_(copy_, given, 0));
    handle_ = copy_;
    read();
  }
  ~Tensor() {
    if (copy_) aoti_torch_delete_tensor_object(copy_);
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  int64_t dimensions, *sizes, *strides;
  float* numbers;

 private:
  void read() {
    void* data;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dim(handle_, &dimensions));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(handle_, &sizes));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_strides(handle_, &strides));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(handle_, &data));
    numbers = static_cast<float*>(data);
  }
  AtenTensorHandle handle_, copy_ = nullptr;
};

inline float* made(std::initializer_list<int64_t> shape, std::initializer_list<int64_t> strides, AtenTensorHandle* to) {
  void* data;
  AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(shape.size(), shape.begin(), strides.begin(),
                                                       aoti_torch_dtype_float32(), aoti_torch_device_type_cpu(), 0, to));
  AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(*to, &data));
  return static_cast<float*>(data);
}

// Room for numbers of each step and sample; the samples come first in memory, or the steps.
inline float* made_like_inputs(const lstm::Layer& of, int64_t width, bool samples_first, AtenTensorHandle* to,
                               int64_t* step, int64_t* sample) {
  *step = samples_first ? width : of.samples * width;
  *sample = samples_first ? of.steps * width : width;
  return made({of.rows, of.steps, of.samples, width}, {of.steps * of.samples * width, *step, *sample, 1}, to);
}

inline lstm::Layer layer(const Tensor& inputs, const Tensor& of_input, const Tensor& of_state, const Tensor& hidden,
                         const Tensor& cell, bool reverse) {
  lstm::Layer of{};
  of.rows = inputs.sizes[0], of.steps = inputs.sizes[1], of.samples = hidden.sizes[1], of.width = inputs.sizes[3];
  of.units = of_state.sizes[2], of.reverse = reverse;
  of.inputs = inputs.numbers, of.inputs_row = inputs.strides[0], of.inputs_step = inputs.strides[1];
  of.inputs_sample = inputs.strides[2];
  of.of_input = of_input.numbers, of.of_input_row = of_input.strides[0];
  of.of_state = of_state.numbers, of.of_state_row = of_state.strides[0];
  of.hidden = hidden.numbers, of.hidden_row = hidden.strides[0];
  of.cell = cell.numbers, of.cell_row = cell.strides[0];
  return of;
}

inline AOTITorchError forward(AtenTensorHandle inputs_, AtenTensorHandle of_input_, AtenTensorHandle of_state_,
                              AtenTensorHandle* input_bias, AtenTensorHandle* state_bias, AtenTensorHandle hidden_,
                              AtenTensorHandle cell_, bool reverse, bool samples_first, bool keep,
                              AtenTensorHandle* tokens, AtenTensorHandle* outputs, AtenTensorHandle* last_cell,
                              AtenTensorHandle* kept) {
  const Tensor inputs(inputs_, 2), of_input(of_input_, 0), of_state(of_state_, 0), hidden(hidden_, 0), cell(cell_, 0);
  lstm::Layer of = layer(inputs, of_input, of_state, hidden, cell, reverse);
  std::optional<Tensor> one, other;
  if (input_bias && state_bias) {
    one.emplace(*input_bias, 0), other.emplace(*state_bias, 0);
    of.input_bias = one->numbers, of.input_bias_row = one->strides[0];
    of.state_bias = other->numbers, of.state_bias_row = other->strides[0];
  }
  if (tokens) {
    int64_t *sizes, *strides;
    void* data;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(*tokens, &sizes));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_strides(*tokens, &strides));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(*tokens, &data));
    of.entries = of.steps, of.steps = sizes[1], of.tokens = static_cast<const int64_t*>(data);
    of.tokens_row = strides[0], of.tokens_step = strides[1], of.tokens_sample = strides[2];
  }
  of.outputs = made_like_inputs(of, of.units, samples_first, outputs, &of.outputs_step, &of.outputs_sample);
  of.last_cell = made({of.rows, of.samples, of.units}, {of.samples * of.units, of.units, 1}, last_cell);
  const int64_t each = keep ? lstm::kept_numbers(of.steps, of.samples, of.units) : 0;
  float* room = made({of.rows, each}, {each ? each : 1, 1}, kept);
  of.kept = keep ? room : nullptr;
  return lstm::forward(of) == lstm::kDone ? AOTI_TORCH_SUCCESS : AOTI_TORCH_FAILURE;
}

inline AOTITorchError backward(AtenTensorHandle* by_outputs_, AtenTensorHandle* by_cell_, AtenTensorHandle inputs_,
                               AtenTensorHandle of_input_, AtenTensorHandle of_state_, AtenTensorHandle hidden_,
                               AtenTensorHandle cell_, AtenTensorHandle outputs_, AtenTensorHandle kept_, bool reverse,
                               bool samples_first, bool wants_inputs, AtenTensorHandle* by_inputs,
                               AtenTensorHandle* by_of_input, AtenTensorHandle* by_of_state, AtenTensorHandle* by_bias,
                               AtenTensorHandle* by_hidden, AtenTensorHandle* by_first) {
  const Tensor inputs(inputs_, 2), of_input(of_input_, 0), of_state(of_state_, 0), hidden(hidden_, 0), cell(cell_, 0);
  const Tensor outputs(outputs_, 2, true), kept(kept_, 0, true);
  lstm::Layer of = layer(inputs, of_input, of_state, hidden, cell, reverse);
  of.outputs = outputs.numbers, of.outputs_step = outputs.strides[1], of.outputs_sample = outputs.strides[2];
  of.kept = kept.numbers;
  lstm::Gradients by{};
  std::optional<Tensor> by_outputs, by_cell;
  if (by_outputs_) {
    by_outputs.emplace(*by_outputs_, 2);
    by.by_outputs = by_outputs->numbers, by.by_outputs_row = by_outputs->strides[0];
    by.by_outputs_step = by_outputs->strides[1], by.by_outputs_sample = by_outputs->strides[2];
  }
  if (by_cell_) {
    by_cell.emplace(*by_cell_, 0);
    by.by_last_cell = by_cell->numbers, by.by_last_cell_row = by_cell->strides[0];
  }
  if (wants_inputs)
    by.by_inputs = made_like_inputs(of, of.width, samples_first, by_inputs, &by.by_inputs_step, &by.by_inputs_sample);
  else
    made({0}, {1}, by_inputs);
  const int64_t gates = 4 * of.units, states = of.samples * of.units;
  by.by_of_input = made({of.rows, gates, of.width}, {gates * of.width, of.width, 1}, by_of_input);
  by.by_of_state = made({of.rows, gates, of.units}, {gates * of.units, of.units, 1}, by_of_state);
  by.by_bias = made({of.rows, gates}, {gates, 1}, by_bias);
  by.by_hidden = made({of.rows, of.samples, of.units}, {states, of.units, 1}, by_hidden);
  by.by_cell = made({of.rows, of.samples, of.units}, {states, of.units, 1}, by_first);
  return lstm::backward(of, by) == lstm::kDone ? AOTI_TORCH_SUCCESS : AOTI_TORCH_FAILURE;
}

}  // namespace lstm_shims
