// Step 4 of attention (docs/numerics.md): of each strip of 16 weights, r = rne(w * inv), the shift x that brings the
// largest below 256 and the probabilities p = (r + half(x)) >> x. A strip every 14 cycles at most.
`default_nettype none
module acc_attn_strips (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         start_i,       // from the first strip on
  input  logic [31:0]  inv_i,         // these are constant until the next start
  input  logic [8:0]   strips_i,
  output logic [9:0]   r_word_o,      // acc_attn_mem
  input  logic [127:0] r_data_i,
  output logic         out_valid_o,
  input  logic         out_ready_i,
  output logic [127:0] p_o,           // a byte each
  output logic [2:0]   x_o
);
  localparam int unsigned Cycles = 1 + acc_fp_pkg::MulCycles + acc_fp_pkg::ToIntCycles;
  logic [8:0]        strip_q;       // that is next
  logic [2:0]        beat_q;        // 4: none
  logic [1:0]        put_q;
  logic [Cycles-1:0] valid_q;
  logic              started_q, working_q, ready_q, full_q;
  logic [255:0]      r_q;
  logic [15:0]       most_q, most_of_beat;
  logic [63:0]       r;
  logic [2:0]        x;
  logic [127:0]      p, p_q;
  logic [2:0]        x_q;
  assign r_word_o    = {strip_q[7:0], beat_q[1:0]};
  assign out_valid_o = full_q;
  assign p_o         = p_q;
  assign x_o         = x_q;

  for (genvar l = 0; l < 4; l++) begin : gen_lane
    logic [31:0] scaled;
    logic [15:0] unused_upper;
    acc_fp_mul u_mul (.clk_i, .a_i(r_data_i[l*32 +: 32]), .b_i(inv_i), .y_o(scaled));
    acc_fp_to_int u_to_int (.clk_i, .x_i(scaled), .y_o({unused_upper, r[l*16 +: 16]}));
  end
  function automatic logic [15:0] larger(input logic [15:0] a, input logic [15:0] b);
    larger = a > b ? a : b;
  endfunction
  assign most_of_beat = larger(larger(r[15:0], r[31:16]), larger(r[47:32], r[63:48]));
  always_comb begin
    x = 3'd7;
    for (int k = 6; k >= 0; k--)
      if ((({1'b0, most_q} + ((17'd1 << k) >> 1)) >> k) <= 17'd255) x = 3'(k);
    for (int j = 0; j < 16; j++) p[j*8 +: 8] = 8'(({1'b0, r_q[j*16 +: 16]} + ((17'd1 << x) >> 1)) >> x);
  end

  logic move;  // a strip into the place that is handed out
  assign move = ready_q && (!full_q || out_ready_i);
  always_ff @(posedge clk_i) begin
    if (valid_q[Cycles-1]) begin
      r_q    <= {r, r_q[255:64]};
      most_q <= put_q == 2'd0 ? most_of_beat : larger(most_q, most_of_beat);
    end
    if (move) {p_q, x_q} <= {p, x};
    if (!rst_ni) started_q <= 1'b0;
    else if (start_i) started_q <= 1'b1;
    if (!rst_ni || start_i) begin
      strip_q   <= '0;
      beat_q    <= 3'd4;
      put_q     <= '0;
      valid_q   <= '0;
      working_q <= 1'b0;
      ready_q   <= 1'b0;
      full_q    <= 1'b0;
    end else begin
      valid_q <= {valid_q[Cycles-2:0], beat_q != 3'd4};
      put_q   <= put_q + 2'(valid_q[Cycles-1]);
      ready_q <= (valid_q[Cycles-1] && put_q == 2'd3) || (ready_q && !move);
      full_q  <= move || (full_q && !out_ready_i);
      if (started_q && !working_q && strip_q != strips_i) begin
        working_q <= 1'b1;
        beat_q    <= 3'd0;
      end else if (beat_q != 3'd4) begin
        beat_q <= beat_q + 3'd1;
        if (beat_q == 3'd3) strip_q <= strip_q + 9'd1;
      end
      if (move) working_q <= 1'b0;
    end
  end
endmodule
`default_nettype wire
