// Step 6 of attention (docs/numerics.md): the segments of a head become its output. Their maxima, sums L and vectors o come
// in as they are made (o in words of 16 dimensions); start_i merges them and writes the output into the vector memory at
// any element. w + 37 cycles for each segment, w words of 16 dimensions, then 29 and 6 or 7 a word.
`default_nettype none
module acc_attn_merge (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic [8:0]   n_i,           // head_dim
  // a segment's results
  input  logic         part_valid_i,
  input  logic [5:0]   part_i,
  input  logic [31:0]  max_i,
  input  logic [31:0]  sum_i,         // L
  input  logic         o_valid_i,     // of segment part_i
  input  logic [3:0]   o_word_i,
  input  logic [511:0] o_i,
  // merge
  input  logic         start_i,
  input  logic [6:0]   parts_i,       // these are constant until the end
  input  logic [15:0]  first_i,       // element of the vector memory
  output logic         busy_o,
  output logic         w_valid_o,
  input  logic         w_ready_i,
  output logic [11:0]  w_addr_o,
  output logic [511:0] w_data_o,
  output logic [15:0]  w_mask_o
);
  typedef enum logic [3:0] {Idle = 4'd0, Most = 4'd1, Distance = 4'd2, Log = 4'd3, Exp = 4'd4, Share = 4'd5, Add = 4'd6,
                            Vector = 4'd7, Invert = 4'd8, Scale = 4'd9, Low = 4'd10, High = 4'd11} state_e;
  localparam logic [31:0] Log2e = 32'h47b8aa3b;  // 65536 log2 e
  localparam int unsigned Cycles = 1 + acc_fp_pkg::MulCycles + acc_fp_pkg::AddCycles;
  state_e       state_q, next;
  logic [511:0] o_mem [0:1023];        // segment, word
  logic [31:0]  max_mem [0:63], sum_mem [0:63];
  logic [6:0]   k_q;                   // segment
  logic [3:0]   word_q, put_q, last;
  logic         last_part;
  logic [31:0]  most_q, y_q, e_q, den_q, inv_q, max, sum, a, b, y;
  logic         op_start, op_done;
  acc_unit_pkg::op_e op;
  assign last      = 4'((n_i - 9'd1) >> 4);
  assign last_part = k_q + 7'd1 == parts_i;
  assign max       = max_mem[k_q[5:0]];
  assign sum       = sum_mem[k_q[5:0]];
  assign busy_o    = state_q != Idle;

  // ---- factor and denominator ----
  logic [2:0]   wait_q;                // for acc_exp2, for a product
  logic [31:0]  factor, as_float;
  logic [15:0]  unused_weight;
  acc_exp2 u_exp (.clk_i, .d_i(y_q), .weight_o(unused_weight), .factor_o(factor));
  acc_fp_from_int u_from_int (.clk_i, .x_i(sum), .y_o(as_float));
  always_comb begin
    unique case (state_q)
      Distance: {op, a, b} = {acc_unit_pkg::OpAdd, max, {!most_q[31], most_q[30:0]}};
      Log:      {op, a, b} = {acc_unit_pkg::OpMul, y_q, Log2e};
      Share:    {op, a, b} = {acc_unit_pkg::OpMul, e_q, as_float};
      Add:      {op, a, b} = {acc_unit_pkg::OpAdd, den_q, y_q};
      default:  {op, a, b} = {acc_unit_pkg::OpDiv, acc_unit_pkg::One, den_q};
    endcase
  end
  assign op_start = state_q == Distance || state_q == Log || state_q == Share || state_q == Add || state_q == Invert;
  acc_fp_op u_op (.clk_i, .rst_ni, .start_i(op_start), .op_i(op), .a_i(a), .b_i(b), .done_o(op_done), .y_o(y));

  // ---- num += E * o, a word a cycle; at last num * inv ----
  logic [511:0]      num [0:15], o_q, num_word, products, sums, scaled_q;
  logic              reading_q;
  logic [Cycles-1:0] valid_q;
  logic [3:0]        add_q;            // word whose product stands
  assign num_word = num[state_q == Vector ? add_q : word_q];
  for (genvar l = 0; l < 16; l++) begin : gen_lane
    acc_fp_mul u_mul (.clk_i, .a_i(state_q == Vector ? o_q[l*32 +: 32] : num_word[l*32 +: 32]),
                      .b_i(state_q == Vector ? e_q : inv_q), .y_o(products[l*32 +: 32]));
    acc_fp_add u_add (.clk_i, .a_i(k_q == 7'd0 ? 32'd0 : num_word[l*32 +: 32]), .b_i(products[l*32 +: 32]),
                      .y_o(sums[l*32 +: 32]));
  end

  // ---- out: a word of the head lies in one or two of the vector memory ----
  logic [15:0] low_lanes;
  logic        over;                   // the second one has something of it
  assign low_lanes = 16'hffff << first_i[3:0];
  assign w_valid_o = state_q == Low || state_q == High;
  assign w_addr_o  = first_i[15:4] + 12'(word_q) + 12'(state_q == High);
  for (genvar l = 0; l < 16; l++) begin : gen_out
    logic [3:0] from;
    assign from = 4'(l) - first_i[3:0];
    assign w_data_o[l*32 +: 32] = scaled_q[{from, 5'd0} +: 32];
    assign w_mask_o[l] = {1'b0, word_q, from} < n_i && low_lanes[l] == (state_q == Low);
  end
  assign over = first_i[3:0] != 4'd0 && 10'({word_q, 4'd0}) + 10'd16 - 10'(first_i[3:0]) < 10'(n_i);

  always_comb begin
    next = state_q;
    unique case (state_q)
      Idle:     if (start_i) next = Most;
      Most:     if (last_part) next = Distance;
      Distance: if (op_done) next = Log;
      Log:      if (op_done) next = Exp;
      Exp:      if (wait_q == 3'd6) next = Share;
      Share:    if (op_done) next = Add;
      Add:      if (op_done) next = Vector;
      Vector:   if (valid_q[Cycles-1] && put_q == last) next = last_part ? Invert : Distance;
      Invert:   if (op_done) next = Scale;
      Scale:    if (wait_q == 3'(acc_fp_pkg::MulCycles)) next = Low;
      Low:      if (w_ready_i) next = over ? High : word_q == last ? Idle : Scale;
      default:  if (w_ready_i) next = word_q == last ? Idle : Scale;
    endcase
  end

  logic part_ends, word_ends;
  assign part_ends = state_q == Most || (state_q == Vector && next != Vector);
  assign word_ends = w_valid_o && next != state_q && next != High;
  always_ff @(posedge clk_i) begin
    if (o_valid_i) o_mem[{part_i, o_word_i}] <= o_i;
    if (part_valid_i) begin
      max_mem[part_i] <= max_i;
      sum_mem[part_i] <= sum_i;
    end
    o_q <= o_mem[{k_q[5:0], word_q}];
    if (state_q == Vector && valid_q[Cycles-1]) num[put_q] <= sums;
    if (state_q == Scale) scaled_q <= products;
    if (state_q == Exp) e_q <= factor;
    if (state_q == Idle) begin
      most_q <= 32'hff800000;
      den_q  <= '0;
    end else if (state_q == Most && acc_fp_pkg::greater(max, most_q)) begin
      most_q <= max;
    end
    if (op_done) begin
      y_q <= y;
      if (state_q == Add) den_q <= y;
      if (state_q == Invert) inv_q <= y;
    end
    if (!rst_ni) begin
      state_q   <= Idle;
      k_q       <= '0;
      word_q    <= '0;
      add_q     <= '0;
      put_q     <= '0;
      wait_q    <= '0;
      reading_q <= 1'b0;
      valid_q   <= '0;
    end else begin
      state_q   <= next;
      wait_q    <= next == state_q && (state_q == Exp || state_q == Scale) ? wait_q + 3'd1 : 3'd0;
      if (state_q == Idle) k_q <= '0;
      else if (part_ends) k_q <= last_part ? 7'd0 : k_q + 7'd1;
      reading_q <= next == Vector && (state_q != Vector || (reading_q && word_q != last));
      valid_q   <= {valid_q[Cycles-2:0], reading_q};
      if (state_q == Vector) begin
        word_q <= next != Vector ? 4'd0 : word_q + 4'(reading_q);
        add_q  <= add_q + 4'(valid_q[acc_fp_pkg::MulCycles]);
        put_q  <= put_q + 4'(valid_q[Cycles-1]);
      end else begin
        add_q <= '0;
        put_q <= '0;
        if (state_q == Idle || state_q == Add) word_q <= '0;
        else if (word_ends) word_q <= word_q + 4'd1;
      end
    end
  end
endmodule
`default_nettype wire
